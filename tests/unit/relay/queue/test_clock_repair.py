"""Times too far in the future are corrected, all others left alone; on both databases."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from foundation.clock_watch import SLACK
from mailstore.db.database import Database
from mailstore.db.dialect import server_clock
from mailstore.errors import StoreUnavailable
from relay.delivery.window import WindowPolicy
from relay.queue import clock_repairer
from relay.queue.clock_repair import Waits
from relay.queue.clock_repairer import ClockRepairer
from relay.queue.model import LEASE, PROBE
from relay.queue.retry import RetryPolicy
from tests.support.clock import NOW
from tests.support.delivery.queued import Letter, destination, know, put, rows
from tests.support.waiting import until

SECOND = timedelta(seconds=1)
SIXTY = timedelta(days=60)
RETRY = RetryPolicy()
WAITS = Waits.of(RETRY, WindowPolicy().probing, PROBE, LEASE)


class Told:
    """Collects the journal's events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def record(self, event: str, **facts: Any) -> None:
        self.events.append((event, facts))


def mender(database: Database, told: Told | None = None, *, proven: bool = True) -> ClockRepairer:
    return ClockRepairer(
        database, WAITS, lambda: NOW, (told or Told()).record, "node", lambda: proven
    )


def test_the_longest_waits() -> None:
    # Longest wait after an unknown outcome: four hours and 20 % jitter.
    assert Waits(timedelta(minutes=288), timedelta(minutes=12), timedelta(minutes=30)) == WAITS


@given(st.integers(1, 200), st.floats(0, 1, exclude_max=True))
def test_no_wait_is_longer_than_the_longest(attempts: int, jitter: float) -> None:
    assert RETRY.wait(attempts, jitter) <= RETRY.max_wait
    assert RETRY.unknown_wait(attempts, jitter) <= RETRY.max_unknown_wait


LIMITS = [
    ("waiting", "due", WAITS.retry, timedelta(0)),
    ("failed", "due", timedelta(0), timedelta(0)),
    ("waiting", "created_at", timedelta(0), timedelta(0)),
    ("failed", "created_at", timedelta(0), timedelta(0)),
    ("waiting", "lease_until", WAITS.lease, WAITS.lease),
]


@pytest.mark.parametrize(("state", "column", "longest", "becomes"), LIMITS)
@pytest.mark.parametrize("beyond", [SECOND, SIXTY, timedelta(days=100_000)])
def test_what_cannot_be_is_clamped(
    database: Database,
    state: str,
    column: str,
    longest: timedelta,
    becomes: timedelta,
    beyond: timedelta,
) -> None:
    ahead = NOW + longest + SLACK + beyond
    columns = {"due": NOW, "lease_owner": "node:7", column: ahead}
    put(database, Letter(state=state, columns=columns), Letter(columns={"due": NOW}))
    told = Told()
    mender(database, told).mend()
    first, second = (row for _, row in sorted(rows(database).items()))
    assert getattr(first, column) == NOW + becomes
    assert second.due == NOW
    ((event, facts),) = told.events
    assert (event, facts["deliveries"], facts["domains"]) == ("clock.was_ahead", 1, [])
    assert facts["furthest"] == ahead.isoformat(timespec="seconds")
    mender(database, told).mend()
    assert len(told.events) == 1


@pytest.mark.parametrize(("state", "column", "longest", "_becomes"), LIMITS)
def test_what_can_be_is_left_alone(
    database: Database, state: str, column: str, longest: timedelta, _becomes: timedelta
) -> None:
    columns = {"due": NOW, column: NOW + longest + SLACK}
    put(database, Letter(state=state, columns=columns))
    before, told = rows(database), Told()
    mender(database, told).mend()
    assert rows(database) == before
    assert told.events == []


@pytest.mark.parametrize(
    ("state", "column"), [("waiting", "created_at"), ("failed", "created_at"), ("failed", "due")]
)
def test_a_clock_that_is_not_proven_makes_nothing_older(
    database: Database, state: str, column: str
) -> None:
    # If this clock were behind, mail would expire, or be removed, once the clock is right again.
    columns = {"due": NOW, column: NOW + SIXTY}
    put(database, Letter(state=state, columns=columns))
    before, told = rows(database), Told()
    mender(database, told, proven=False).mend()
    assert rows(database) == before
    assert told.events == []


@pytest.mark.parametrize(("several", "becomes"), [(False, SIXTY), (True, WAITS.lease)])
def test_leases_of_other_machines_are_judged_by_a_clock_of_the_database_alone(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    several: bool,
    becomes: timedelta,
) -> None:
    # SQLite: attempts of other machines may be in flight, and this machine's clock may be wrong.
    # PostgreSQL: one clock for all machines; the owners renew these leases at half their length.
    monkeypatch.setattr(Database, "several", property(lambda _: several))
    until = NOW + SIXTY
    for owner in ("node2:1", "nod_:1"):
        put(database, Letter(columns={"due": NOW, "lease_owner": owner, "lease_until": until}))
    put(database, Letter(columns={"due": NOW + SIXTY, "lease_owner": "x:1", "lease_until": until}))
    told = Told()
    mender(database, told).mend()
    assert {row.lease_until for row in rows(database).values()} == {NOW + becomes}
    assert {row.due for row in rows(database).values()} == {NOW}


def test_a_clock_apart_from_the_database_s_mends_nothing(database: Database) -> None:
    put(database, Letter(columns={"due": NOW + SIXTY}))
    know(database, "b.mssante.fr", failures=9, dead_until=NOW + SIXTY, last_error="down")
    before, told = rows(database), Told()
    one = mender(database, told)
    one.apart = lambda: True
    assert not one.mend()
    assert rows(database) == before
    assert destination(database, "b.mssante.fr").failures == 9
    assert told.events == []
    one.apart = lambda: False
    assert one.mend()
    assert {row.due for row in rows(database).values()} == {NOW}


def test_the_database_s_own_clock(database: Database) -> None:
    with database.read() as connection:
        theirs = server_clock(connection)
    assert (theirs is None) == (database.url.get_backend_name() == "sqlite")
    if theirs is not None:
        assert abs(theirs - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_destination_dead_for_longer_than_can_be_is_alive(database: Database) -> None:
    know(database, "b.mssante.fr", failures=9, dead_until=NOW + SIXTY, last_error="down")
    know(database, "c.mssante.fr", failures=9, dead_until=NOW + WAITS.probe + SLACK)
    know(database, "d.mssante.fr", paused="they asked", dead_until=NOW + SIXTY)
    told = Told()
    with capture_logs() as logs:
        mender(database, told).mend()
    b, c, d = (destination(database, f"{name}.mssante.fr") for name in "bcd")
    assert (b.failures, b.dead_until) == (0, None)
    assert (c.failures, c.dead_until) == (9, NOW + WAITS.probe + SLACK)
    assert (d.paused, d.dead_until) == ("they asked", None)
    ((_, facts),) = told.events
    assert facts["domains"] == ["b.mssante.fr", "d.mssante.fr"]
    assert "the clock of this machine, or of another of this queue, was ahead" in facts["detail"]
    assert [(one["log_level"], one["event"]) for one in logs] == [("error", "clock.was_ahead")]


def test_a_look_at_the_indexes_is_enough_to_find_that_there_is_need(database: Database) -> None:
    columns = {"created_at": NOW + SIXTY}
    put(database, Letter(columns={"due": NOW, **columns}))
    assert not mender(database).mend(whole=False)
    assert next(iter(rows(database).values())).created_at == NOW + SIXTY
    put(database, Letter(columns={"due": NOW + SIXTY}))
    assert mender(database).mend(whole=False)
    assert {(row.due, row.created_at) for row in rows(database).values()} == {(NOW, NOW)}


def test_a_long_queue_is_read_to_its_end(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock_repairer, "SLICE", 10)
    monkeypatch.setattr(clock_repairer, "BATCH", 4)
    good, bad = Letter(columns={"due": NOW}), Letter(columns={"due": NOW + SIXTY})
    put(database, *[bad if number % 3 else good for number in range(33)])
    told = Told()
    mender(database, told).mend()
    assert {row.due for row in rows(database).values()} == {NOW}
    assert sum(facts["deliveries"] for _, facts in told.events) == 22


async def test_at_the_start_and_after_a_jump_all_is_read(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def born() -> set[datetime]:
        return {row.created_at for row in rows(database).values()}

    columns = {"due": NOW, "created_at": NOW + SIXTY}
    put(database, Letter(columns=columns))
    monkeypatch.setattr(clock_repairer, "LOOK_SECONDS", 3600.0)
    one = mender(database)
    task = asyncio.create_task(one.run())
    await until(lambda: born() == {NOW})
    put(database, Letter(columns=columns))
    one.jumped()
    await until(lambda: born() == {NOW})
    task.cancel()
    await asyncio.wait([task])


async def test_a_database_that_is_away_is_tried_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock_repairer, "LOOK_SECONDS", 0.01)
    faults: list[Exception] = [ValueError("a fault of ours"), StoreUnavailable("away")]
    calls: list[bool] = []

    def mend(_self: ClockRepairer, *, whole: bool) -> bool:
        calls.append(whole)
        if faults:
            raise faults.pop()
        return whole

    monkeypatch.setattr(ClockRepairer, "mend", mend)
    with capture_logs() as logs:
        task = asyncio.create_task(mender(database).run())
        await until(lambda: len(calls) >= 5)
        task.cancel()
        await asyncio.wait([task])
    assert calls[:5] == [True, True, True, False, False]
    assert [one["event"] for one in logs] == ["clock.unmended"] * 2
