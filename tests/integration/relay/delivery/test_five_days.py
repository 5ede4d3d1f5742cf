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
from tests.support.delivery.courier_with_peers import STUCK, CourierWithPeers, making
from tests.support.delivery.listed import listing
from tests.support.waiting import until

HOUR = timedelta(hours=1)
LATER = Outcome(State.WAITING, "450 4.2.1 later")


@pytest.fixture
def courier(tmp_path: Path, database: Database) -> Iterator[CourierWithPeers]:
    with making(tmp_path, database) as made:
        yield made


@pytest.mark.timeout(300)
async def test_back_off_delay_warning_and_expiry(courier: CourierWithPeers) -> None:
    # RFC 5321 §4.5.4.1: 1 min doubled up to 1 h, five days of life; delay report after 4 h.
    courier.answers = {"a.mssante.fr": LATER}
    put(courier.store.database, "a.mssante.fr")
    async with courier.running():
        await courier.turn_to(NOW + 4 * HOUR - timedelta(seconds=1))
        assert [row[3] for row in courier.rows()] == [False]
        await courier.turn_to(NOW + 6 * HOUR)
        await until(lambda: [row[3] for row in courier.rows()] == [True])
        await courier.turn_to(NOW + timedelta(days=5, hours=2))
    times = [at for at, _ in courier.tried]
    waits = [later - earlier for earlier, later in pairwise(times)]
    expected = [min(timedelta(minutes=2 ** min(n, 6)), HOUR) for n in range(len(waits))]
    assert all(e <= w <= 1.2 * e for w, e in zip(waits, expected, strict=True))
    assert 110 < len(times) < 130
    assert timedelta(days=5) <= times[-1] - NOW <= timedelta(days=5) + 1.2 * HOUR
    assert [row[1] for row in courier.rows()] == ["failed"]


@pytest.mark.timeout(300)
async def test_a_dead_destination_is_probed_and_its_mail_told_late_and_given_up(
    courier: CourierWithPeers,
) -> None:
    courier.down = {"a.mssante.fr"}
    for number in range(40):
        put(courier.store.database, "a.mssante.fr", number=number)
    async with courier.running():
        await courier.turn_to(NOW + 5 * timedelta(minutes=1))
        # A first cohort, then probes: never forty connections.
        assert len(courier.tried) <= 8
        await courier.turn_to(NOW + 4.5 * HOUR)
        # Also the deliveries that had no attempt.
        await until(lambda: all(row[3] for row in courier.rows()))
        courier.now = NOW + timedelta(days=5, minutes=1)
        await until(lambda: {row[1] for row in courier.rows()} == {"failed"})
    with courier.store.database.read() as connection:
        assert all("is down" in row.last_error for row in listing(connection, 100))


@pytest.mark.timeout(300)
async def test_a_backlog_is_told_late_while_letters_go_on(courier: CourierWithPeers) -> None:
    database = courier.store.database
    for number in range(400):
        put(database, "a.mssante.fr", number=number)
    with database.write() as connection:
        # No probe in this time: no attempt reports anything.
        row = {"domain": "a.mssante.fr", "dead_until": NOW + 9 * timedelta(days=1)}
        connection.execute(insert(destinations).values(row))
    courier.now = NOW + 4 * HOUR
    told_before: list[int] = []
    async with courier.running():
        for number in range(1000, 1005):
            key = put(database, "b.mssante.fr", number=number, at=courier.now)
            await until(partial(courier.has_tried, key))
            told_before.append(sum(bool(row[3]) for row in courier.rows()))
        await until(lambda: all(row[3] for row in courier.rows()))
    # Interactive mail did not wait for the end of the reports.
    assert told_before[0] < 400
    assert len(courier.tried) == 5
    assert len(courier.rows()) == 400


async def test_a_destination_that_comes_back_has_everything(courier: CourierWithPeers) -> None:
    courier.down = {"a.mssante.fr"}
    for number in range(40):
        put(courier.store.database, "a.mssante.fr", number=number)
    async with courier.running():
        await courier.turn_to(NOW + 3 * HOUR)
        tried = len(courier.tried)
        courier.down = set()
        await courier.turn_to(NOW + 5 * HOUR)
    assert courier.rows() == []
    assert len(courier.tried) == tried + 40
    with courier.store.database.read() as connection:
        assert connection.scalars(select(destinations.c.dead_until)).all() == [None]


async def test_what_is_held_or_paused_is_left_alone_until_it_is_not(
    courier: CourierWithPeers,
) -> None:
    put(courier.store.database, "a.mssante.fr", number=1)
    put(courier.store.database, "b.mssante.fr", number=2)
    with courier.store.database.write() as connection:
        d = deliveries.c
        connection.execute(update(deliveries).where(d.domain == "a.mssante.fr").values(held="why"))
        connection.execute(
            destinations.insert().values(domain="b.mssante.fr", paused="maintenance")
        )
    async with courier.running():
        await courier.turn_to(NOW + 6 * timedelta(days=1))
        assert courier.tried == []
        assert [row[1:3] for row in courier.rows()] == [("waiting", 0), ("waiting", 0)]
        with courier.store.database.write() as connection:
            connection.execute(update(deliveries).values(held=None))
            connection.execute(update(destinations).values(paused=None))
        await until(lambda: courier.rows() == [])
    assert len(courier.tried) == 2


async def test_a_letter_overtakes_the_reports_of_a_program(courier: CourierWithPeers) -> None:
    for number in range(300):
        put(
            courier.store.database,
            "a.mssante.fr",
            sender="labo@a.mssante.fr",
            mailbox_type=MailboxType.APP,
            number=number,
        )
    put(courier.store.database, "a.mssante.fr", sender="dr@a.mssante.fr", number=1000)
    async with courier.running():
        await until(lambda: courier.rows() == [])
    senders = [claim.sender for _, claim in courier.tried]
    assert len(senders) == 301
    assert senders.index("dr@a.mssante.fr") < 20


async def test_an_attempt_that_makes_no_progress_is_put_off(
    courier: CourierWithPeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.delivery.watchdog.LOOK_SECONDS", 0.005)
    courier.silent = {"a.mssante.fr"}
    database = courier.store.database
    put(database, "a.mssante.fr", number=1)
    async with courier.running():
        await until(lambda: bool(courier.tried))
        begun = time.monotonic()
        courier.ahead = STUCK + 1
        await until(lambda: [row[4] for row in courier.rows()] == [None])
        assert time.monotonic() - begun < 60
    with database.read() as connection:
        (row,) = listing(connection, 10)
    assert (row.state, row.attempts, row.last_error) == (
        "waiting", 1, "broken off (stuck): answer",
    )  # fmt: skip


async def test_the_lease_of_a_long_attempt_is_renewed(
    courier: CourierWithPeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.delivery.watchdog.LOOK_SECONDS", 0.005)
    courier.silent = {"a.mssante.fr"}
    put(courier.store.database, "a.mssante.fr", number=1)
    d = deliveries.c

    def lease() -> datetime:
        with courier.store.database.read() as connection:
            until = connection.scalar(select(d.lease_until))
        assert isinstance(until, datetime)
        return until

    async with courier.running():
        await until(lambda: bool(courier.tried))
        first = lease()
        courier.now += LEASE / 2
        courier.ahead = LEASE.total_seconds() / 2 + 1
        await until(lambda: lease() > first)
        courier.manager.cancel()
    assert len(courier.tried) == 1


async def test_what_cannot_be_recorded_spares_the_others(
    courier: CourierWithPeers, monkeypatch: pytest.MonkeyPatch
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
        put(courier.store.database, domain, number=number)
    async with courier.running():
        await until(lambda: len(courier.rows()) == 1)
        put(courier.store.database, "d.mssante.fr", number=9)
        await until(lambda: "d.mssante.fr" in {claim.domain for _, claim in courier.tried})
        await until(lambda: len(courier.rows()) == 1)
    assert [claim.domain for _, claim in courier.tried].count("bad.mssante.fr") == 1


async def test_what_was_taken_on_ahead_is_given_back_when_the_courier_stops(
    courier: CourierWithPeers,
) -> None:
    # An attempt that was not made does not count.
    def leased() -> int:
        return sum(row[4] is not None for row in courier.rows())

    stop = asyncio.Event()
    running = asyncio.create_task(courier.manager.run(stop))
    put(courier.store.database, "a.mssante.fr")
    await until(lambda: bool(courier.tried) and not courier.rows())
    courier.silent = {"a.mssante.fr"}
    for number in range(1, 31):
        put(courier.store.database, "a.mssante.fr", number=number)
    await until(lambda: leased() == 10)  # two windows of five
    stop.set()
    await until(lambda: leased() == 5)
    courier.manager.cancel()
    await running
    assert [row[2] for row in courier.rows()].count(0) == 25
    assert len(courier.tried) == 1 + 5
