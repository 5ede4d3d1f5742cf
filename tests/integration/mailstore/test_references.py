"""Scans of all messages, daily or by an operator's command, have no statement timeout."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import event, text

from mailstore.blobs.references import References, drop_unneeded, referred_now
from mailstore.db.database import Database

DEADLINE = text("SELECT current_setting('statement_timeout')")
NOW = datetime.now(UTC)


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_no_walk_is_cut_short(database: Database) -> None:
    """Sorting a nation's messages takes longer than a statement may take while mail waits."""
    deadlines: list[str] = []

    @event.listens_for(database._writer, "commit")
    def look(connection: object) -> None:
        deadlines.append(connection.scalar(DEADLINE))  # type: ignore[attr-defined]

    with References(database):
        pass
    referred_now(database, ["0" * 64])
    drop_unneeded(database, NOW)
    assert deadlines == ["0"] * 3
    with database.read() as connection:
        assert connection.scalar(DEADLINE) == "30s"
