"""Removal of old failed deliveries: recorded in journal and log; no error ends the rounds."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

import mssante_operator.jobs.failed_expiry
from foundation.journal.writer import Journal
from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from mssante_operator.assembly.clock import utc_now
from mssante_operator.jobs.failed_expiry import FailedExpiryJob
from relay.queue_admin.expiry import delete_failed
from tests.support.delivery.queued import Letter, message_id, put, rows
from tests.support.machines.daemon import Daemon, served
from tests.support.waiting import until, until_now

DAY = timedelta(days=1)


def lay(database: Database, *days: int) -> None:
    now = utc_now()
    put(database, *(Letter(state="failed", columns={"due": now - d * DAY}) for d in days), now=now)


async def test_rounds_go_on_after_an_error_and_are_told_of(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(database, 31, 29, 40)
    calls: list[object] = []

    def once(*given: object) -> object:
        calls.append(given)
        if len(calls) == 1:
            raise StoreUnavailable("the database is away")
        return delete_failed(*given)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(mssante_operator.jobs.failed_expiry, "delete_failed", once)
    journal = Journal(tmp_path / "trace", utc_now)
    with capture_logs() as logs:
        running = asyncio.create_task(FailedExpiryJob(database, journal, 30 * DAY, 0.01).run())
        await until(lambda: list(rows(database)) == [2])
        await until(lambda: len(calls) >= 3)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    journal.close()
    assert [one["event"] for one in logs] == ["queue.unforgotten", "queue.forgotten"]
    assert logs[1]["deliveries"] == 2
    lines = "".join(path.read_text() for path in (tmp_path / "trace").rglob("*.jsonl"))
    events = [json.loads(line) for line in lines.splitlines() if line]
    assert [(e["event"], e.get("message"), e.get("deliveries")) for e in events] == [
        ("queue.forgotten", message_id(3), None),
        ("queue.forgotten", message_id(1), None),
        ("queue.forgotten", None, 2),
    ]


async def test_a_round_under_way_ends_with_the_process(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(database, 31, 32, 33)
    loop, begun, told = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def slow(*given: object) -> Iterator[object]:
        for found in delete_failed(*given, batch=1):  # type: ignore[arg-type]  # as it was called
            loop.call_soon_threadsafe(begun.set)
            asyncio.run_coroutine_threadsafe(told.wait(), loop).result()
            yield found

    monkeypatch.setattr(mssante_operator.jobs.failed_expiry, "delete_failed", slow)
    journal = Journal(tmp_path / "trace", utc_now)
    running = asyncio.create_task(FailedExpiryJob(database, journal, 30 * DAY).run())
    await begun.wait()
    running.cancel()
    await asyncio.wait({running})
    told.set()
    await loop.shutdown_default_executor()
    journal.close()
    assert list(rows(database)) == [1, 2]


def test_the_daemon_forgets_as_it_starts(operator_q: Daemon, database: Database) -> None:
    lay(database, 31, 29)
    with served(operator_q):
        until_now(lambda: list(rows(database)) == [2])
    until_now(lambda: "queue.forgotten" in operator_q.log())
    assert "queue.forgotten delivery=1 domain=b.mssante.fr" in operator_q.run(
        "trace", message_id(1)
    )


async def test_nothing_is_forgotten_by_a_clock_in_doubt(tmp_path: Path, database: Database) -> None:
    lay(database, 31, 400)
    journal, doubts = Journal(tmp_path / "trace", utc_now), list[int]()

    def in_doubt() -> bool:
        doubts.append(len(rows(database)))
        return len(doubts) < 5

    forgetting = FailedExpiryJob(database, journal, 30 * DAY, 0.01, in_doubt)
    running = asyncio.create_task(forgetting.run())
    await until(lambda: not rows(database))
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    journal.close()
    assert doubts[:5] == [2] * 5
