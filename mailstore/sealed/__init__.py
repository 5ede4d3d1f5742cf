"""Encrypted bodies: keys, format, drafts, reading."""
