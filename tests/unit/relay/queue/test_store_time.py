"""Leases use PostgreSQL's clock: a machine with a wrong clock takes and keeps leases correctly."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from mailstore.db.database import Database
from mailstore.db.dialect import server_clock
from relay.queue.clock_repair import Waits
from relay.queue.clock_repairer import ClockRepairer
from relay.queue.due import find_late_or_expired
from relay.queue.leases import claim, lease_without_attempt, renew
from relay.queue.model import LEASE, PROBE, Claim
from relay.queue.retry import RetryPolicy
from relay.queue.schema import deliveries
from relay.queue_admin.actions import HoldAction
from relay.queue_admin.filter import DeliveryFilter
from relay.queue_admin.views import listing, show, summary
from tests.support.delivery.queued import Letter, perform, put, rows

pytestmark = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)

MINUTE = timedelta(minutes=1)
AHEAD, BEHIND = 31 * MINUTE, -7200 * MINUTE
RETRY = RetryPolicy()


@pytest.fixture
def store_time_is_ours() -> None:
    """Override: these tests use the database's own clock."""


def now() -> datetime:
    return datetime.now(UTC)


def take(database: Database, owner: str, wrong: timedelta) -> list[Claim]:
    """Lease deliveries on a machine whose clock is wrong by `wrong`."""
    with database.write() as connection:
        return claim(
            connection,
            owner=owner,
            now=now() + wrong,
            lease=LEASE,
            limit=9,
            wait=lambda _: timedelta(0),
        )


def put_due(database: Database) -> int:
    """Queue a message that is due."""
    born = now() + 2 * BEHIND
    (key,) = put(database, Letter(columns={"due": born}), now=born)
    return key


def lasts(database: Database) -> timedelta:
    """Return the remaining time of the only lease, by the database's clock."""
    (row,) = rows(database).values()
    with database.read() as connection:
        at = server_clock(connection)
    assert at is not None
    left: timedelta = row.lease_until - at
    return left


def about(expected: timedelta, found: timedelta) -> bool:
    return expected - MINUTE < found <= expected


def test_a_machine_ahead_takes_no_lease_that_another_holds(database: Database) -> None:
    key = put_due(database)
    (held,) = take(database, "right:1", timedelta(0))
    assert take(database, "ahead:1", AHEAD) == []
    with database.write() as connection:
        at = now() + AHEAD
        assert lease_without_attempt(connection, [key], owner="ahead:1", now=at, lease=LEASE) == []
        late = find_late_or_expired(
            connection,
            RETRY,
            at,
            longest=LEASE,
            after=0,
            slice_size=9,
            limit=9,
            steady_now=at - 5 * LEASE,
        )
        assert late.keys == []
        assert [one.in_flight for one in listing(connection, DeliveryFilter(), at, 9)] == [True]
        assert [one.in_flight for one in show(connection, DeliveryFilter(), at)] == [True]
        assert [one.in_flight for one in summary(connection, DeliveryFilter(), at)] == [1]
    assert perform(database, HoldAction("why")) == ([], 1)
    assert rows(database)[key].lease_token == held.token


@pytest.mark.parametrize("wrong", [AHEAD, BEHIND])
def test_a_wrong_clock_holds_a_lease_for_as_long_as_a_right_one(
    database: Database, wrong: timedelta
) -> None:
    key = put_due(database)
    (held,) = take(database, "wrong:1", wrong)
    assert about(LEASE, lasts(database))
    with database.write() as connection:
        at = now() + wrong
        assert renew(connection, [held.lease], now=at, lease=2 * LEASE) == {held.lease}
    assert about(2 * LEASE, lasts(database))
    with database.write() as connection:
        connection.execute(update(deliveries).values(lease_until=now() - MINUTE))
        (mine,) = lease_without_attempt(connection, [key], owner="other:1", now=at, lease=LEASE)
        assert renew(connection, [held.lease], now=at, lease=LEASE) == set()
    assert about(LEASE, lasts(database))
    assert rows(database)[key].lease_token == mine.token != held.token


def test_a_lease_lapses_for_a_machine_that_is_behind(database: Database) -> None:
    put_due(database)
    take(database, "dead:1", timedelta(0))
    with database.write() as connection:
        past = {"lease_until": now() - MINUTE, "due": now() + 2 * BEHIND}
        connection.execute(update(deliveries).values(**past))
    assert len(take(database, "behind:1", BEHIND)) == 1


@pytest.mark.parametrize("owner", ["node:1", "other:1"])
def test_a_lease_that_the_database_gave_while_it_was_ahead_is_shortened(
    database: Database, owner: str
) -> None:
    put_due(database)
    take(database, owner, timedelta(0))
    with database.write() as connection:
        until = now() + timedelta(days=60)
        connection.execute(update(deliveries).values(lease_until=until))
    waits = Waits.of(RETRY, RETRY, PROBE, LEASE)
    told: list[str] = []
    record: Callable[..., None] = lambda event, **_: told.append(event)  # noqa: E731
    mender = ClockRepairer(database, waits, now, record, "node", lambda: True)
    assert mender.mend()
    assert told == ["clock.was_ahead"]
    assert about(LEASE, lasts(database))
    mender.mend()
    assert told == ["clock.was_ahead"]
