"""Certificates, names, trust and revocation of IGC-Santé."""
