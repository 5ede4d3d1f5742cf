"""Connections of peers: counts, limits, streams, TLS, and the journal allowance of strangers."""
