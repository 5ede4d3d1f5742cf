"""Connections of peers: counts, limits, streams, TLS, and how strangers are told of."""
