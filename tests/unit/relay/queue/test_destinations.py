"""Destinations on both databases: pauses by operators."""

from datetime import timedelta

from mailstore.db.database import Database
from relay.queue.destinations import forget_dead, pause, pauses, resume
from relay.queue.model import ALL
from tests.support.clock import NOW
from tests.support.delivery.queued import destination, know

MINUTE = timedelta(minutes=1)


def test_a_dead_destination_is_forgotten(database: Database) -> None:
    for domain in ("b.mssante.fr", "c.mssante.fr"):
        know(database, domain, failures=7, dead_until=NOW + MINUTE, paused="why")
    with database.write() as connection:
        forget_dead(connection, ["b.mssante.fr", "d.mssante.fr"])
    b, c = (destination(database, f"{name}.mssante.fr") for name in "bc")
    assert (b.failures, b.dead_until, b.paused) == (0, None, "why")
    assert (c.failures, c.dead_until) == (7, NOW + MINUTE)


def test_the_reason_of_a_pause_is_kept_until_resumed(database: Database) -> None:
    know(database, "b.mssante.fr", failures=3, dead_until=NOW + MINUTE, last_error="timeout")
    with database.write() as connection:
        pause(connection, "b.mssante.fr", "they asked")
        pause(connection, "c.mssante.fr", "first")
        pause(connection, "c.mssante.fr", "second")
        pause(connection, ALL, "maintenance")
        assert pauses(connection) == {
            "*": "maintenance",
            "b.mssante.fr": "they asked",
            "c.mssante.fr": "second",
        }
    assert destination(database, "b.mssante.fr").failures == 3
    with database.write() as connection:
        assert resume(connection, "b.mssante.fr")
        assert not resume(connection, "b.mssante.fr")
        assert not resume(connection, "d.mssante.fr")
        assert list(pauses(connection)) == ["*", "c.mssante.fr"]
    row = destination(database, "b.mssante.fr")
    assert (row.failures, row.dead_until, row.last_error) == (0, None, "timeout")
