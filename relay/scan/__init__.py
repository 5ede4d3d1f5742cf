"""Scanners of content: ClamAV and rspamd."""
