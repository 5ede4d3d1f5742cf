"""Authorities, certificates and white lists of a test space."""
