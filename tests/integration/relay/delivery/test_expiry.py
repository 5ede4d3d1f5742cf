"""Expiry scan: finds and reports late or expired mail that no attempt reports, in any quantity."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update
from structlog.testing import capture_logs

import relay.delivery.expiry
from foundation.journal.writer import Journal
from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from relay.delivery.events import DeliveryEvents
from relay.delivery.expiry import ExpirySweeper
from relay.delivery.iteration_commit import IterationCommitter
from relay.delivery.iteration_transaction import Recorded
from relay.queue.attempt_result import AttemptResult
from relay.queue.due import LateOrExpired, find_late_or_expired
from relay.queue.schema import deliveries, destinations
from tests.support.clock import NOW
from tests.support.delivery.backlog import fill, put
from tests.support.delivery.delivery_store import CLAIRE, RETRY, TO, DeliveryStore
from tests.support.delivery.queued import rows
from tests.support.waiting import until

HOUR = timedelta(hours=1)
POLL = 0.005


class SweptStore:
    """A delivery store with an expiry scan, without a courier; time is set by hand."""

    def __init__(self, folder: Path, delivery_store: DeliveryStore) -> None:
        self.folder, self.delivery_store, self.now = folder, delivery_store, NOW
        self.jumped = timedelta(0)  # wall clock minus steady clock
        self.usable_for, self.asked = 10**9, 0
        self.journal = Journal(folder / "trace", lambda: self.now)
        self.database = delivery_store.store.database
        self.committer = delivery_store.committer(lambda: self.now)
        self.events = DeliveryEvents(self.journal, lambda _domain: "other")

    @asynccontextmanager
    async def sweeping(self, committer: IterationCommitter | None = None) -> AsyncIterator[None]:
        sweeper = ExpirySweeper(
            self.database,
            committer or self.committer,
            self.events,
            RETRY,
            lambda: self.now,
            lambda: self.now - self.jumped,
            POLL,
            self.is_usable,
            timedelta(minutes=12),
        )
        stop = asyncio.Event()
        task = asyncio.create_task(sweeper.run(stop))
        try:
            yield
        finally:
            stop.set()
            await task

    def is_usable(self) -> bool:
        """Whether there is a white list: True for the first `usable_for` calls."""
        self.asked += 1
        return self.asked <= self.usable_for

    def reports(self) -> int:
        return len(self.delivery_store.mail(CLAIRE))

    def told(self) -> int:
        d = deliveries.c
        with self.database.read() as connection:
            return connection.scalar(select(func.count()).where(d.delay_told)) or 0

    def events_of(self, message: str) -> list[dict[str, Any]]:
        self.journal.close()
        paths = sorted((self.folder / "trace").rglob("*.jsonl"))
        lines = "".join(path.read_text() for path in paths)
        events = [json.loads(line) for line in lines.splitlines() if line]
        return [event for event in events if event["message"] == message]

    def die(self, at: datetime) -> None:
        """Declare the destination dead at this time, as by a probe."""
        domain, until = TO.partition("@")[2], at + timedelta(minutes=10)
        with self.database.write() as connection:
            row = {"domain": domain, "dead_until": until, "last_error": "it is down"}
            connection.execute(insert(destinations).values(row))


@pytest.fixture
def swept(tmp_path: Path, database: Database) -> Iterator[SweptStore]:
    delivery_store = DeliveryStore(tmp_path, database)
    made = SweptStore(tmp_path, delivery_store)
    yield made
    made.journal.close()
    delivery_store.store.blobs.close()


async def test_late_mail_is_told_of_once_and_what_is_over_given_up(swept: SweptStore) -> None:
    key = swept.delivery_store.queue()
    swept.die(NOW + RETRY.life)
    async with swept.sweeping():
        swept.now = NOW + 4 * HOUR
        await until(lambda: swept.reports() == 1)
        swept.now = NOW + RETRY.life
        await until(lambda: swept.reports() == 2)
    delayed, sent, expired, sent_again = swept.events_of(key)
    assert (delayed["event"], delayed["recipients"]) == ("delivery.delayed", 1)
    assert (expired["event"], expired["error"]) == ("delivery.expired", "it is down")
    for event in (sent, sent_again):
        assert (event["event"], event["to"]) == ("report.sent", [CLAIRE])
    assert sent["report"] != sent_again["report"]


async def test_what_is_held_for_its_body_is_told_of_as_the_rest_and_never_as_refused(
    swept: SweptStore,
) -> None:
    key = swept.delivery_store.queue()
    why = "body missing: the blob is gone"
    with swept.database.write() as connection:
        connection.execute(update(deliveries).values(held=why, unreadable=True, last_error=why))
    async with swept.sweeping():
        swept.now = NOW + 4 * HOUR
        await until(lambda: swept.reports() == 1)
        (row,) = rows(swept.database).values()
        assert (row.state, row.held, row.delay_told) == ("waiting", why, True)
        swept.now = NOW + RETRY.life
        await until(lambda: swept.reports() == 2)
    (row,) = rows(swept.database).values()
    assert (row.state, row.last_error) == ("failed", why)
    events = [one["event"] for one in swept.events_of(key)]
    assert events == ["delivery.delayed", "report.sent", "delivery.expired", "report.sent"]
    for report in swept.delivery_store.mail(CLAIRE):
        assert "Your own mail system could not read this message again" in report.words
        assert "no need to send it again" not in report.words
        assert report.recipients[0]["Status"] in ("4.3.0", "5.3.0")


@pytest.mark.parametrize(
    ("held", "unreadable", "paused"),
    [("why", False, None), ("body missing: x", False, None), ("body missing: x", True, "why")],
)
async def test_what_a_person_holds_or_pauses_is_not_given_up(
    swept: SweptStore, held: str, paused: str | None, *, unreadable: bool
) -> None:
    swept.delivery_store.queue()
    with swept.database.write() as connection:
        connection.execute(
            update(deliveries).values(held=held, unreadable=unreadable, delay_told=True)
        )
        if paused:
            row = {"domain": TO.partition("@")[2], "paused": paused, "last_error": ""}
            connection.execute(insert(destinations).values(row))
    swept.now = NOW + RETRY.life + HOUR
    async with swept.sweeping():
        rounds = swept.asked
        await until(lambda: swept.asked > rounds + 3)
    (row,) = rows(swept.database).values()
    assert (row.state, swept.reports()) == ("waiting", 0)


async def test_what_is_over_by_the_steady_clock_is_stored_by_that_of_the_day(
    swept: SweptStore,
) -> None:
    swept.delivery_store.queue()
    swept.jumped = timedelta(days=60)
    swept.now = NOW + swept.jumped + 4 * HOUR
    async with swept.sweeping():
        await until(lambda: swept.told() == 1)
        swept.now = NOW + swept.jumped + RETRY.life
        swept.die(swept.now)
        await until(lambda: swept.reports() == 2)
    (row,) = rows(swept.database).values()
    assert (row.state, row.due) == ("failed", swept.now)


async def test_without_a_white_list_nothing_is_given_up(
    swept: SweptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay.delivery.expiry, "SLICE", 1)
    for _ in range(3):
        swept.delivery_store.queue()
    swept.die(NOW + RETRY.life)
    swept.now, swept.usable_for = NOW + RETRY.life, 2
    async with swept.sweeping():
        await until(lambda: swept.asked > 2)
        begun, asked = time.monotonic(), swept.asked  # in the middle of a scan
        await until(lambda: swept.asked >= asked + 10)
        assert time.monotonic() - begun > 9 * POLL
        assert swept.reports() == 2
        swept.usable_for = 10**9
        await until(lambda: swept.reports() == 3)


async def test_a_backlog_is_read_to_its_end_whatever_the_slices(
    swept: SweptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay.delivery.expiry, "SLICE", 10)
    monkeypatch.setattr(relay.delivery.expiry, "MAX_SETTLED", 4)
    for number in range(33):
        put(swept.database, "c.mssante.fr", sender="labo@b.mssante.fr", number=number)
    swept.now = NOW + 4 * HOUR
    async with swept.sweeping():
        await until(lambda: swept.told() == 33)
        last = swept.delivery_store.queue()  # queued behind deliveries that are reported already
        await until(lambda: swept.reports() == 1)
    assert [event["event"] for event in swept.events_of(last)] == [
        "delivery.delayed",
        "report.sent",
    ]


async def test_two_machines_tell_of_each_once(
    swept: SweptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay.delivery.expiry, "MAX_SETTLED", 3)
    for _ in range(30):
        swept.delivery_store.queue()
    swept.now = NOW + 4 * HOUR
    other = replace(swept.committer, owner="node2:1")
    async with swept.sweeping(), swept.sweeping(other):
        await until(lambda: swept.told() == 30)
    assert swept.reports() == 30


async def test_a_long_queue_is_looked_through_in_few_steps(
    swept: SweptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So many once took five minutes, with two hundred every two seconds.
    fill(swept.database, [("bulk", "c.mssante.fr", "labo@b.mssante.fr", 30_000)], NOW + HOUR)
    key = swept.delivery_store.queue()
    steps: list[int] = []

    def counting(*given: Any, **named: Any) -> LateOrExpired:
        steps.append(named["after"])
        return find_late_or_expired(*given, **named)

    monkeypatch.setattr(relay.delivery.expiry, "find_late_or_expired", counting)
    swept.now = NOW + 4 * HOUR
    async with swept.sweeping():
        await until(lambda: swept.reports() == 1)
    assert len(steps) <= 30_000 / relay.delivery.expiry.SLICE + 2
    assert swept.events_of(key)[0]["event"] == "delivery.delayed"


class Unwell(IterationCommitter):
    """Fails at times, before the database has written."""

    def __init__(self, other: IterationCommitter, faults: list[Exception]) -> None:
        super().__init__(
            other.store, other.dsn_writer, other.owner, other.retry, other.randomness, other.clock
        )
        object.__setattr__(self, "faults", faults)

    def record(self, results: Sequence[AttemptResult]) -> Sequence[Recorded]:
        faults: list[Exception] = object.__getattribute__(self, "faults")
        if faults:
            raise faults.pop()
        return super().record(results)


async def test_a_database_that_was_away_delays_what_is_told_and_no_more(swept: SweptStore) -> None:
    swept.delivery_store.queue()
    swept.now = NOW + 4 * HOUR
    unwell = Unwell(swept.committer, [StoreUnavailable("away"), ValueError("a fault of ours")])
    with capture_logs() as logs:
        async with swept.sweeping(unwell):
            await until(lambda: swept.reports() == 1)
    events = [line["event"] for line in logs if line["event"].startswith("sweep.")]
    assert events == ["sweep.error", "sweep.unavailable"]


async def test_stopping_lets_what_has_begun_come_to_its_end(swept: SweptStore) -> None:
    key = swept.delivery_store.queue()
    swept.now = NOW + 4 * HOUR
    async with swept.sweeping():
        await until(lambda: swept.told() == 1)
    assert [event["event"] for event in swept.events_of(key)] == ["delivery.delayed", "report.sent"]
