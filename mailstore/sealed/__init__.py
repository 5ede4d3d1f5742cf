"""Encrypted bodies: keys, format, drafts, reader."""
