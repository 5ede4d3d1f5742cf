"""A PostgreSQL with a standby, for tests that need both."""

from tests.support.replicas import kept_pair, pair

__all__ = ["kept_pair", "pair"]
