"""Clocks for tests: fixed (its microseconds must survive storage), real, or set by the test."""

from datetime import UTC, datetime

import pytest

from mailstore.db.store_time import by_caller, store_time

NOW = datetime(2026, 11, 22, 10, 11, 12, 131415, tzinfo=UTC)


def system_clock() -> datetime:
    """Current aware time of this machine, for tests with real peers or certificates."""
    return datetime.now(UTC)


class Monotonic:
    """Monotonic clock that the test sets; `now` in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store_time_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let PostgreSQL use the clock of the test, like SQLite."""
    by_dialect = store_time._compiler_dispatcher.specs  # type: ignore[attr-defined]
    monkeypatch.setitem(by_dialect, "postgresql", by_caller)
