"""A moment for tests that need one; its microseconds must survive storage."""

from datetime import UTC, datetime

import pytest

from mailstore.store_time import by_caller, store_time

NOW = datetime(2026, 11, 22, 10, 11, 12, 131415, tzinfo=UTC)


@pytest.fixture
def store_time_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let PostgreSQL go by the clock of the test, as SQLite does: time that the test turns."""
    by_dialect = store_time._compiler_dispatcher.specs  # type: ignore[attr-defined]
    monkeypatch.setitem(by_dialect, "postgresql", by_caller)
