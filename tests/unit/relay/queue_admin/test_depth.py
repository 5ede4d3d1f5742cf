"""The queue is counted in slices, with the same result as at once."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from mailstore.db.database import Database
from relay.queue.model import DestinationRow, DestinationTable, Traffic
from relay.queue.schema import deliveries
from relay.queue_admin.depth import DepthCount
from relay.queue_admin.filter import DeliveryStatus
from tests.support.clock import NOW
from tests.support.delivery.backlog import fill, put

HOUR = timedelta(hours=1)
NOTHING = DestinationTable({}, all_paused=False)
BACKLOG = [
    ("bulk", "b.mssante.fr", "labo@a.mssante.fr", 30),
    ("person", "b.mssante.fr", "x@a.mssante.fr", 5),
    ("person", "c.mssante.fr", "x@a.mssante.fr", 7),
]


def count(database: Database, limit: int) -> tuple[DepthCount, int]:
    """A whole round, and its number of slices."""
    tally, slices, more = DepthCount(), 0, True
    while more:
        slices += 1
        with database.read() as connection:
            more = tally.read(connection, limit)
    return tally, slices


@pytest.mark.parametrize(("limit", "slices"), [(1, 43), (5, 9), (42, 2), (43, 1), (5000, 1)])
def test_a_round_counts_each_delivery_once(database: Database, limit: int, slices: int) -> None:
    fill(database, BACKLOG, at=NOW - HOUR)
    d = deliveries.c
    with database.write() as connection:
        connection.execute(update(deliveries).where(d.id <= 10).values(state="failed"))
        connection.execute(
            update(deliveries).where(d.id.between(5, 14)).values(held="why", created_at=NOW)
        )
        connection.execute(update(deliveries).where(d.id == 30).values(created_at=NOW - 9 * HOUR))
        connection.execute(update(deliveries).where(d.id == 42).values(created_at=NOW - 2 * HOUR))
    tally, took = count(database, limit)
    depth = tally.depth(NOTHING, NOW, str.upper)
    assert took == slices
    assert depth.deliveries == {
        DeliveryStatus.WAITING: 28,
        DeliveryStatus.HELD: 4,
        DeliveryStatus.FAILED: 10,
    }
    assert depth.waiting == {"B.MSSANTE.FR": 21, "C.MSSANTE.FR": 7}
    assert depth.oldest == {Traffic.BULK: NOW - 9 * HOUR, Traffic.PERSON: NOW - 2 * HOUR}


def test_what_is_held_for_its_body_is_counted_apart(database: Database) -> None:
    fill(database, BACKLOG)
    d = deliveries.c
    with database.write() as connection:
        of_body, of_person = d.id.in_((1, 2, 3, 5)), d.id == 4
        held = update(deliveries).values(held="body missing: x")
        connection.execute(held.where(of_body).values(unreadable=True))
        connection.execute(held.where(of_person))
        connection.execute(update(deliveries).where(d.id == 5).values(state="failed"))
    depth = count(database, 7)[0].depth(NOTHING, NOW, str.upper)
    assert (depth.unreadable, depth.deliveries[DeliveryStatus.HELD]) == (3, 4)


def test_an_empty_queue(database: Database) -> None:
    tally, slices = count(database, 10)
    depth = tally.depth(NOTHING, NOW, str.upper)
    assert (slices, depth.oldest, depth.waiting) == (1, {}, {})
    assert depth.deliveries == dict.fromkeys(DeliveryStatus, 0)


def test_what_comes_during_a_round_is_counted_by_it(database: Database) -> None:
    fill(database, BACKLOG)
    tally = DepthCount()
    with database.read() as connection:
        assert tally.read(connection, 40)
    put(database, "d.mssante.fr", number=1)
    with database.read() as connection:
        assert not tally.read(connection, 40)
        rows = connection.scalar(select(func.count()).select_from(deliveries))
    assert sum(tally.depth(NOTHING, NOW, str.upper).deliveries.values()) == rows


def test_domains_are_summed_up_by_operator(database: Database) -> None:
    fill(database, BACKLOG)
    tally, _ = count(database, 50)
    known = DestinationTable(
        {
            "b1": DestinationRow(dead_until=NOW),
            "b2": DestinationRow(dead_until=NOW, paused=True),
            "c1": DestinationRow(failures=1),
        },
        all_paused=True,
    )
    depth = tally.depth(known, NOW, lambda domain: "x" if "mssante" in domain else domain[0])
    assert (depth.waiting, depth.dead, depth.paused) == ({"x": 42}, {"b": 2}, {"b": 1})
    assert depth.all_paused
