"""A moment for tests that need one; its microseconds must survive storage."""

from datetime import UTC, datetime

NOW = datetime(2026, 11, 22, 10, 11, 12, 131415, tzinfo=UTC)
