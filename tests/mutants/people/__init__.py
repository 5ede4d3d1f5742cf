"""Mutants of accounts, rights, administrators and endings."""
