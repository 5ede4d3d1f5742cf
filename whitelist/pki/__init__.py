"""Certificates, names, trust and revocation of the IGC-Santé."""
