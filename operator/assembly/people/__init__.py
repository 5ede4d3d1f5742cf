"""Audit trail and log-in as the configuration describes them."""
