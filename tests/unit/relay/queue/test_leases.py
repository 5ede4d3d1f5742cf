"""Leases without an attempt."""

from datetime import timedelta

from mailstore.db.database import Database
from relay.queue.leases import lease_without_attempt
from tests.support.clock import NOW
from tests.support.delivery.queued import Letter, put

HOUR = timedelta(hours=1)


def test_what_is_held_is_not_leased_at_the_end_of_its_time(database: Database) -> None:
    # Held after the scan found it: it does not expire.
    waits, held, without_body, failed, leased = put(
        database,
        Letter(),
        Letter(held="by a person"),
        Letter(held="body missing: the body is in no place where bodies are", unreadable=True),
        Letter(state="failed"),
        Letter(lease=HOUR),
    )
    with database.write() as connection:
        keys = [waits, held, without_body, failed, leased]
        found = lease_without_attempt(connection, keys, owner="node:1", now=NOW, lease=HOUR)
    assert sorted(one.id for one in found) == [waits, without_body]
