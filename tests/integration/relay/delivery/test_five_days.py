"""Five days of the queue in seconds: real queue and courier, a clock set by hand."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, update

from mailstore.db.database import Database
from mailstore.mailboxes.identifiers import MailboxType
from relay.delivery.iteration_transaction import Recorded, record_results
from relay.queue.attempt_result import AttemptResult
from relay.queue.model import LEASE
from relay.queue.schema import deliveries, destinations
from relay.smtp.outcome import Outcome, State
from tests.support.clock import NOW
from tests.support.delivery.backlog import put
from tests.support.delivery.courier_with_peers import STUCK, World, making
from tests.support.delivery.listed import listing
from tests.support.waiting import until

HOUR = timedelta(hours=1)
LATER = Outcome(State.WAITING, "450 4.2.1 later")


@pytest.fixture
def world(tmp_path: Path, database: Database) -> Iterator[World]:
    with making(tmp_path, database) as made:
        yield made


@pytest.mark.timeout(300)
async def test_back_off_delay_warning_and_expiry(world: World) -> None:
    # RFC 5321 §4.5.4.1: 1 min doubled up to 1 h, five days of life; delay report after 4 h.
    world.answers = {"a.mssante.fr": LATER}
    put(world.store.database, "a.mssante.fr")
    async with world.running():
        await world.turn_to(NOW + 4 * HOUR - timedelta(seconds=1))
        assert [row[3] for row in world.rows()] == [False]
        await world.turn_to(NOW + 6 * HOUR)
        await until(lambda: [row[3] for row in world.rows()] == [True])
        await world.turn_to(NOW + timedelta(days=5, hours=2))
    times = [at for at, _ in world.tried]
    waits = [later - earlier for earlier, later in pairwise(times)]
    expected = [min(timedelta(minutes=2 ** min(n, 6)), HOUR) for n in range(len(waits))]
    assert all(e <= w <= 1.2 * e for w, e in zip(waits, expected, strict=True))
    assert 110 < len(times) < 130
    assert timedelta(days=5) <= times[-1] - NOW <= timedelta(days=5) + 1.2 * HOUR
    assert [row[1] for row in world.rows()] == ["failed"]


@pytest.mark.timeout(300)
async def test_a_dead_destination_is_probed_and_its_mail_told_late_and_given_up(
    world: World,
) -> None:
    world.down = {"a.mssante.fr"}
    for number in range(40):
        put(world.store.database, "a.mssante.fr", number=number)
    async with world.running():
        await world.turn_to(NOW + 5 * timedelta(minutes=1))
        # A first cohort, then probes: never forty connections.
        assert len(world.tried) <= 8
        await world.turn_to(NOW + 4.5 * HOUR)
        # Also the deliveries that had no attempt.
        await until(lambda: all(row[3] for row in world.rows()))
        world.now = NOW + timedelta(days=5, minutes=1)
        await until(lambda: {row[1] for row in world.rows()} == {"failed"})
    with world.store.database.read() as connection:
        assert all("is down" in row.last_error for row in listing(connection, 100))


@pytest.mark.timeout(300)
async def test_a_backlog_is_told_late_while_letters_go_on(world: World) -> None:
    database = world.store.database
    for number in range(400):
        put(database, "a.mssante.fr", number=number)
    with database.write() as connection:
        # No probe in this time: no attempt reports anything.
        row = {"domain": "a.mssante.fr", "dead_until": NOW + 9 * timedelta(days=1)}
        connection.execute(insert(destinations).values(row))
    world.now = NOW + 4 * HOUR
    told_before: list[int] = []
    async with world.running():
        for number in range(1000, 1005):
            key = put(database, "b.mssante.fr", number=number, at=world.now)
            await until(partial(world.has_tried, key))
            told_before.append(sum(bool(row[3]) for row in world.rows()))
        await until(lambda: all(row[3] for row in world.rows()))
    # Interactive mail did not wait for the end of the reports.
    assert told_before[0] < 400
    assert len(world.tried) == 5
    assert len(world.rows()) == 400


async def test_a_destination_that_comes_back_has_everything(world: World) -> None:
    world.down = {"a.mssante.fr"}
    for number in range(40):
        put(world.store.database, "a.mssante.fr", number=number)
    async with world.running():
        await world.turn_to(NOW + 3 * HOUR)
        tried = len(world.tried)
        world.down = set()
        await world.turn_to(NOW + 5 * HOUR)
    assert world.rows() == []
    assert len(world.tried) == tried + 40
    with world.store.database.read() as connection:
        assert connection.scalars(select(destinations.c.dead_until)).all() == [None]


async def test_what_is_held_or_paused_is_left_alone_until_it_is_not(world: World) -> None:
    put(world.store.database, "a.mssante.fr", number=1)
    put(world.store.database, "b.mssante.fr", number=2)
    with world.store.database.write() as connection:
        d = deliveries.c
        connection.execute(update(deliveries).where(d.domain == "a.mssante.fr").values(held="why"))
        connection.execute(
            destinations.insert().values(domain="b.mssante.fr", paused="maintenance")
        )
    async with world.running():
        await world.turn_to(NOW + 6 * timedelta(days=1))
        assert world.tried == []
        assert [row[1:3] for row in world.rows()] == [("waiting", 0), ("waiting", 0)]
        with world.store.database.write() as connection:
            connection.execute(update(deliveries).values(held=None))
            connection.execute(update(destinations).values(paused=None))
        await until(lambda: world.rows() == [])
    assert len(world.tried) == 2


async def test_a_letter_overtakes_the_reports_of_a_program(world: World) -> None:
    for number in range(300):
        put(
            world.store.database,
            "a.mssante.fr",
            sender="labo@a.mssante.fr",
            mailbox_type=MailboxType.APP,
            number=number,
        )
    put(world.store.database, "a.mssante.fr", sender="dr@a.mssante.fr", number=1000)
    async with world.running():
        await until(lambda: world.rows() == [])
    senders = [claim.sender for _, claim in world.tried]
    assert len(senders) == 301
    assert senders.index("dr@a.mssante.fr") < 20


async def test_an_attempt_that_makes_no_progress_is_put_off(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.delivery.watchdog.LOOK_SECONDS", 0.005)
    world.silent = {"a.mssante.fr"}
    database = world.store.database
    put(database, "a.mssante.fr", number=1)
    async with world.running():
        await until(lambda: bool(world.tried))
        begun = time.monotonic()
        world.ahead = STUCK + 1
        await until(lambda: [row[4] for row in world.rows()] == [None])
        assert time.monotonic() - begun < 60
    with database.read() as connection:
        (row,) = listing(connection, 10)
    assert (row.state, row.attempts, row.last_error) == (
        "waiting", 1, "broken off (stuck): answer",
    )  # fmt: skip


async def test_the_lease_of_a_long_attempt_is_renewed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.delivery.watchdog.LOOK_SECONDS", 0.005)
    world.silent = {"a.mssante.fr"}
    put(world.store.database, "a.mssante.fr", number=1)
    d = deliveries.c

    def lease() -> datetime:
        with world.store.database.read() as connection:
            until = connection.scalar(select(d.lease_until))
        assert isinstance(until, datetime)
        return until

    async with world.running():
        await until(lambda: bool(world.tried))
        first = lease()
        world.now += LEASE / 2
        world.ahead = LEASE.total_seconds() / 2 + 1
        await until(lambda: lease() > first)
        world.manager.cancel()
    assert len(world.tried) == 1


async def test_what_cannot_be_recorded_spares_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_one(
        connection: Connection, results: Sequence[AttemptResult], *given: Any, **named: Any
    ) -> list[Recorded]:
        for one in results:
            if one.claim.domain == "bad.mssante.fr":
                connection.execute(insert(deliveries).values(id=one.claim.id))
        return record_results(connection, results, *given, **named)

    monkeypatch.setattr("relay.delivery.iteration_commit.record_results", refuse_one)
    domains = ["a.mssante.fr", "bad.mssante.fr", "c.mssante.fr"]
    for number, domain in enumerate(domains):
        put(world.store.database, domain, number=number)
    async with world.running():
        await until(lambda: len(world.rows()) == 1)
        put(world.store.database, "d.mssante.fr", number=9)
        await until(lambda: "d.mssante.fr" in {claim.domain for _, claim in world.tried})
        await until(lambda: len(world.rows()) == 1)
    assert [claim.domain for _, claim in world.tried].count("bad.mssante.fr") == 1


async def test_what_was_taken_on_ahead_is_given_back_when_the_courier_stops(world: World) -> None:
    # An attempt that was not made does not count.
    def leased() -> int:
        return sum(row[4] is not None for row in world.rows())

    stop = asyncio.Event()
    courier = asyncio.create_task(world.manager.run(stop))
    put(world.store.database, "a.mssante.fr")
    await until(lambda: bool(world.tried) and not world.rows())
    world.silent = {"a.mssante.fr"}
    for number in range(1, 31):
        put(world.store.database, "a.mssante.fr", number=number)
    await until(lambda: leased() == 10)  # two windows of five
    stop.set()
    await until(lambda: leased() == 5)
    world.manager.cancel()
    await courier
    assert [row[2] for row in world.rows()].count(0) == 25
    assert len(world.tried) == 1 + 5
