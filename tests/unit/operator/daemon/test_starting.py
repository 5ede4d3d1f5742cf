"""A process that cannot start yet reports why, tries again, and starts by itself."""

import asyncio
import errno
import socket
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mailstore.db.database import Database
from mailstore.errors import InvalidKeys, StoreUnavailable
from mssante_operator.assembly.outside_errors import is_outside
from mssante_operator.daemon import starting
from mssante_operator.daemon.control_channel import ProcessReport, ReportReader, send_report
from mssante_operator.daemon.starting import Start, report_of
from mssante_operator.errors import Outage
from mssante_operator.settings.model import SettingsError


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "FIRST_SECONDS", 0.001)


def in_turn(*steps: Exception | int) -> Callable[[], int]:
    """Work with the given results, one for each call."""
    left = list(steps)

    def work() -> int:
        step = left.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    return work


async def test_it_is_tried_until_it_can_be_and_told_once_for_each_reason() -> None:
    said, waits = list[ProcessReport](), list[str]()
    start = Start(said.append, asyncio.Event())
    down, keys = Outage("no connection"), SettingsError("no keys")
    assert await start.retry_in_thread(in_turn(down, down, keys, keys, down, 7), waits.append) == 7
    start.ready()
    assert said == [
        ProcessReport("no connection"),
        ProcessReport("no keys", own=True),
        ProcessReport("no connection"),
        ProcessReport(),
    ]
    assert waits == ["no connection", "no keys", "no connection"]


async def test_one_that_hangs_is_told_of_and_goes_on_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(starting, "START_TIMEOUT", 0.01)
    said, go_on = list[ProcessReport](), threading.Event()
    told = asyncio.Event()

    def say(one: ProcessReport) -> None:
        said.append(one)
        told.set()

    def hang() -> int:
        go_on.wait(60)
        return 7

    waiting = asyncio.create_task(Start(say, asyncio.Event()).retry_in_thread(hang))
    await asyncio.wait_for(told.wait(), 20)
    assert said[0].problem.startswith("no answer from the store for ")
    assert not said[0].own
    go_on.set()
    assert await asyncio.wait_for(waiting, 20) == 7


@pytest.mark.parametrize("hangs", [True, False])
async def test_it_is_told_to_stop(*, hangs: bool) -> None:
    stop, go_on, told = asyncio.Event(), threading.Event(), asyncio.Event()

    def work() -> int:
        if hangs:
            go_on.wait(60)
        raise Outage("no connection")

    start = Start(lambda _: told.set(), stop)
    waiting = asyncio.create_task(start.retry_in_thread(work))
    if not hangs:
        await asyncio.wait_for(told.wait(), 20)
    stop.set()
    assert await asyncio.wait_for(waiting, 20) is None
    go_on.set()


async def test_a_fault_of_ours_is_not_waited_for() -> None:
    with pytest.raises(ZeroDivisionError):
        await Start(lambda _: None, asyncio.Event()).retry_in_thread(lambda: 1 // 0)


def of_sqlite(path: Path) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as caught:
        Database(path).schema_revision()
    return caught.value


def test_what_is_outside_and_what_is_our_own(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"no database, but long enough to be looked at" * 100)
    assert not is_outside(of_sqlite(tmp_path / "text"))
    busy = tmp_path / "busy"
    with sqlite3.connect(busy, isolation_level=None) as holder:
        holder.execute("PRAGMA locking_mode=EXCLUSIVE")
        holder.execute("CREATE TABLE one (number)")
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mailstore.db.dialect.BUSY_TIMEOUT", 0.01)
            assert is_outside(of_sqlite(busy))
    holder.close()
    for number, outside in (
        (errno.ENOSPC, True),
        (errno.EIO, True),
        (errno.ENOMEM, True),
        (errno.EACCES, False),
        (errno.ENOENT, False),
        (errno.EADDRINUSE, False),
    ):
        assert is_outside(OSError(number, "x")) is outside
        assert report_of(OSError(number, "x")).own is not outside
    assert is_outside(StoreUnavailable("no connection"))
    assert is_outside(StoreUnavailable("cannot list the bucket x: 403 AccessDenied"))
    assert not is_outside(StoreUnavailable("cannot list the bucket x: 404 NoSuchBucket"))
    assert not is_outside(InvalidKeys("no key"))
    assert report_of(Outage("x")) == ProcessReport("x")
    assert report_of(SettingsError("x")) == ProcessReport("x", own=True)


async def test_reports_that_come_at_once_are_heard_one_by_one() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    for one in (ProcessReport("x", own=True), ProcessReport()):
        send_report(theirs, one)
    reports = ReportReader(ours)
    assert await reports.next_report() == ProcessReport("x", own=True)
    assert await reports.next_report() == ProcessReport()
    theirs.close()
    assert await reports.next_report() is None
    ours.close()
