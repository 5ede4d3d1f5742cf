"""Due deliveries, found without a full table scan: query plans of both databases."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import ColumnElement, Connection, event, insert, select, text, update

from foundation.clock_watch import SLACK
from mailstore.db.database import Database
from relay.queue.due import destinations_with_mail, due_by_sender, find_late_or_expired, newest
from relay.queue.leases import claim, lease_without_attempt, release_unattempted, renew
from relay.queue.model import ALL, Lease, Newest, Traffic, new_token
from relay.queue.retry import RetryPolicy
from relay.queue.schema import deliveries, destinations
from relay.queue_admin.depth import DepthCount
from tests.support.clock import NOW
from tests.support.delivery.backlog import fill, put

PERSON, BULK = Traffic.PERSON, Traffic.BULK
HOUR = timedelta(hours=1)
POLICY = RetryPolicy(life=10 * HOUR, delay_warning=HOUR)
LONGEST = timedelta(minutes=12)

BACKLOG = [
    ("bulk", "b.mssante.fr", "labo@a.mssante.fr", 30),
    ("person", "b.mssante.fr", "x@a.mssante.fr", 3),
    ("person", "b.mssante.fr", "", 2),
    ("person", "b.mssante.fr", "y@a.mssante.fr", 3),
    ("person", "c.mssante.fr", "x@a.mssante.fr", 1),
]


def test_the_destinations_of_a_class(database: Database) -> None:
    fill(database, BACKLOG)
    with database.read() as connection:
        assert destinations_with_mail(connection, PERSON) == ["b.mssante.fr", "c.mssante.fr"]
        assert destinations_with_mail(connection, BULK) == ["b.mssante.fr"]


def test_nothing_waits(database: Database) -> None:
    with database.read() as connection:
        assert destinations_with_mail(connection, PERSON) == []
        assert newest(connection, NOW, 10) == Newest([])
        turn = due_by_sender(
            connection, PERSON, "b.mssante.fr", after=None, now=NOW, senders=5, limit=25
        )
        assert (turn.found, turn.last) == ([], None)
        late = find_late_or_expired(
            connection, POLICY, NOW, longest=LONGEST, after=0, slice_size=5, limit=5
        )
        assert (late.keys, late.last) == ([], None)


def test_senders_come_in_turns_of_a_few(database: Database) -> None:
    fill(database, BACKLOG)
    after, turns = None, []
    with database.read() as connection:
        for _ in range(3):
            turn = due_by_sender(
                connection, PERSON, "b.mssante.fr", after=after, now=NOW, senders=2, limit=4
            )
            turns.append(Counter(due.sender for due in turn.found))
            after = turn.last
    assert turns == [
        {"": 2, "x@a.mssante.fr": 2},
        {"y@a.mssante.fr": 3},  # the last sender gets the unused share of the others
        {"": 2, "x@a.mssante.fr": 2},  # again from the start
    ]


def test_held_failed_and_later_mail_is_not_seen(database: Database) -> None:
    fill(database, BACKLOG)
    states: list[dict[str, object]] = [{"held": "why"}, {"state": "failed"}, {"due": NOW + HOUR}]
    with database.write() as connection:
        keys = [one.id for one in newest(connection, NOW, 100).found if one.traffic is PERSON]
        for key, values in zip(keys, states * 3, strict=True):
            connection.execute(update(deliveries).where(deliveries.c.id == key).values(**values))
    with database.read() as connection:
        left = newest(connection, NOW, 100)
        assert {one.traffic for one in left.found} == {BULK}
        # Held deliveries are among the rows read.
        assert left.numbers - {one.id for one in left.found} == set(keys[::3])
        for domain in destinations_with_mail(connection, PERSON):
            turn = due_by_sender(
                connection, PERSON, domain, after=None, now=NOW, senders=9, limit=81
            )
            assert turn.found == []


def test_new_mail_is_the_first_of_the_newest(database: Database) -> None:
    fill(database, BACKLOG)
    put(database, "d.mssante.fr", at=NOW + HOUR)
    with database.read() as connection:
        both = newest(connection, NOW + HOUR, 2)
        assert not newest(connection, NOW + HOUR, 100).full
    first, second = both.found
    assert both.numbers == {first.id, second.id}
    assert both.full
    assert (first.domain, first.fresh, second.fresh) == ("d.mssante.fr", True, False)


def found_late_or_expired(
    database: Database, at: datetime, *, slice_size: int = 15, limit: int = 15
) -> list[int]:
    """Return the result of a whole scan, step by step."""
    keys, after = [], 0
    with database.read() as connection:
        while True:
            found = find_late_or_expired(
                connection,
                POLICY,
                at,
                longest=LONGEST,
                after=after,
                slice_size=slice_size,
                limit=limit,
            )
            keys += found.keys
            if found.last is None:
                return keys
            after = found.last


def mark(database: Database, *where: ColumnElement[bool], **values: object) -> None:
    with database.write() as connection:
        connection.execute(update(deliveries).where(*where).values(**values))


@pytest.mark.parametrize(("slice_size", "limit"), [(1, 1), (7, 3), (13, 99), (40, 99), (99, 10)])
def test_late_mail_is_found_once_by_number_whatever_the_steps(
    database: Database, slice_size: int, limit: int
) -> None:
    fill(database, BACKLOG, at=NOW - HOUR)
    put(database, "d.mssante.fr", at=NOW)
    keys = found_late_or_expired(database, NOW, slice_size=slice_size, limit=limit)
    assert len(keys) == 39
    assert keys == sorted(set(keys))
    assert found_late_or_expired(database, NOW - timedelta(seconds=1)) == []


def test_what_was_given_a_new_life_does_not_hide_what_comes_behind_it(database: Database) -> None:
    # Retried by hand after a failure: new `created_at`, old number.
    fill(database, BACKLOG, at=NOW - HOUR)
    mark(database, deliveries.c.id <= 30, created_at=NOW)
    assert len(found_late_or_expired(database, NOW, limit=5)) == 9


def test_who_was_told_and_what_is_held_failed_or_leased_is_left_alone(database: Database) -> None:
    fill(database, BACKLOG, at=NOW - HOUR)
    d = deliveries.c
    mark(database, d.id <= 10, delay_told=True)
    mark(database, d.id.between(11, 15), held="why")
    mark(database, d.id.between(16, 20), state="failed")
    mark(database, d.id.between(21, 25), lease_owner="n:1", lease_until=NOW + HOUR)
    mark(database, d.id.between(26, 30), lease_owner="n:1", lease_until=NOW)
    keys = found_late_or_expired(database, NOW)
    with database.read() as connection:
        left = connection.scalars(select(d.id).where(d.id > 25).order_by(d.id)).all()
    assert keys == left


def test_what_is_over_is_found_for_dead_destinations_that_are_not_paused(
    database: Database,
) -> None:
    fill(database, BACKLOG, at=NOW - POLICY.life)
    assert found_late_or_expired(database, NOW) == []
    rows = [
        {"domain": "b.mssante.fr", "dead_until": NOW + LONGEST, "paused": "why"},
        {"domain": "c.mssante.fr", "dead_until": NOW + LONGEST, "paused": None},
    ]
    with database.write() as connection:
        connection.execute(insert(destinations), rows)
    assert len(found_late_or_expired(database, NOW)) == 1
    with database.write() as connection:
        connection.execute(update(destinations).values(paused=None))
    assert len(found_late_or_expired(database, NOW)) == 39
    with database.write() as connection:
        connection.execute(insert(destinations).values(domain=ALL, paused="why"))
    assert found_late_or_expired(database, NOW) == []


@pytest.mark.parametrize(
    ("dead_until", "found"),
    [
        (NOW - timedelta(days=6), 0),  # never probed: no courier ran
        (NOW, 0),  # the next probe decides whether it is still dead
        (NOW + timedelta(seconds=1), 38),
        (NOW + LONGEST + SLACK, 38),
        (NOW + LONGEST + SLACK + timedelta(seconds=1), 0),  # written by a clock that was ahead
        (NOW + timedelta(days=60), 0),
    ],
)
def test_mail_is_given_up_for_a_death_found_lately_alone(
    database: Database, dead_until: datetime, found: int
) -> None:
    fill(database, BACKLOG, at=NOW - POLICY.life)
    with database.write() as connection:
        row = {"domain": "b.mssante.fr", "dead_until": dead_until, "last_error": "old"}
        connection.execute(insert(destinations).values(row))
    assert len(found_late_or_expired(database, NOW)) == found


@contextmanager
def statements(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """Collect all statements run in this block, with their parameters."""
    seen: list[tuple[str, Any]] = []

    def note(*facts: object) -> None:
        seen.append((str(facts[2]), facts[3]))

    with database.connect() as connection:
        engine = connection.engine
    engines = {engine, database._reader}
    for one in engines:
        event.listen(one, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        for one in engines:
            event.remove(one, "before_cursor_execute", note)


LEASES = [Lease(key, new_token()) for key in range(200, 220)]
LOOKS: list[Callable[[Connection], object]] = [
    lambda c: destinations_with_mail(c, PERSON),
    lambda c: newest(c, NOW, 100),
    lambda c: due_by_sender(c, BULK, "d7.mssante.fr", after="s3@", now=NOW, senders=16, limit=400),
    lambda c: due_by_sender(c, BULK, "d7.mssante.fr", after=None, now=NOW, senders=16, limit=400),
    lambda c: find_late_or_expired(
        c, POLICY, NOW + HOUR, longest=LONGEST, after=100, slice_size=1000, limit=50
    ),
    lambda c: find_late_or_expired(
        c, POLICY, NOW + HOUR, longest=LONGEST, after=100, slice_size=1000, limit=5000
    ),
    lambda c: DepthCount(after=100).read(c, 1000),
    lambda c: claim(
        c,
        owner="n:1",
        now=NOW,
        lease=HOUR,
        limit=20,
        wait=lambda _: HOUR,
        among=list(range(100, 120)),
    ),
    lambda c: lease_without_attempt(c, list(range(200, 220)), owner="n:1", now=NOW, lease=HOUR),
    lambda c: renew(c, LEASES, now=NOW, lease=HOUR),
    lambda c: release_unattempted(c, LEASES, now=NOW),
]


@pytest.fixture
def backlog(database: Database) -> Database:
    """Fill the queue: so many rows that a bad plan shows; a quarter for dead destinations."""
    senders = [
        (traffic, f"d{domain}.mssante.fr", f"s{sender}@a.mssante.fr", 10)
        for traffic in ("person", "bulk")
        for domain in range(20)
        for sender in range(25)
    ]
    fill(database, senders)
    if database.url.get_backend_name() == "postgresql":  # in production by autovacuum
        with database.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))
    return database


def test_no_look_and_no_claim_walks_through_the_table(backlog: Database, dialect: str) -> None:
    with statements(backlog) as seen, backlog.write() as connection:
        for look in LOOKS:
            look(connection)
    explain = "EXPLAIN QUERY PLAN " if dialect == "sqlite" else "EXPLAIN "
    walks = re.compile(r"SCAN deliver\w*(?! USING (COVERING )?INDEX)|Seq Scan on deliveries")
    # PostgreSQL sorts if a destination has few rows; SQLite does not know that they are few.
    sorts = re.compile(r"TEMP B-TREE|ix_deliveries_state_due_id \(state=\? AND due<\?\)")
    queries = [(sql, values) for sql, values in seen if "deliver" in sql]
    assert len(queries) >= len(LOOKS)
    with backlog.read() as connection:
        for sql, values in queries:
            one = values[0] if isinstance(values, list) else values
            rows = connection.exec_driver_sql(explain + sql, one)
            plan = "\n".join(str(row[-1]) for row in rows)
            assert not walks.search(plan), f"{sql}\n{plan}"
            if " IN (" in sql:
                assert "state_due_id" not in plan, f"{sql}\n{plan}"
            elif dialect == "sqlite" and "DESC" not in sql and "GROUP BY" not in sql:
                assert not sorts.search(plan), f"{sql}\n{plan}"
