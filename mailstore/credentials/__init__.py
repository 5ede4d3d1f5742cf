"""Credentials of accounts, and log-in by them."""
