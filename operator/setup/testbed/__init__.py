"""Authorities, certificates and white lists of a test trust space."""
