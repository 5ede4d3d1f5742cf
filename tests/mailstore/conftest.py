"""A PostgreSQL with a standby, for the tests that need one."""

from tests.support.replicas import kept_pair, pair

__all__ = ["kept_pair", "pair"]
