"""Clocks of tests: a fixed moment (its microseconds must survive storage), real, turned."""

from datetime import UTC, datetime

import pytest

from mailstore.db.store_time import by_caller, store_time

NOW = datetime(2026, 11, 22, 10, 11, 12, 131415, tzinfo=UTC)


def system_clock() -> datetime:
    """The aware time of this machine, for tests in which real peers or certificates have a part."""
    return datetime.now(UTC)


class Monotonic:
    """A monotonic clock that the test turns; `now` is in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store_time_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let PostgreSQL go by the clock of the test, as SQLite does: time that the test turns."""
    by_dialect = store_time._compiler_dispatcher.specs  # type: ignore[attr-defined]
    monkeypatch.setitem(by_dialect, "postgresql", by_caller)
