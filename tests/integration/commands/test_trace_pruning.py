"""Pruning of traces: old traces are removed, young traces stay, no error ends the rounds."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from foundation.journal.files import NAME, hour_file, hours
from mssante_operator.assembly.clock import utc_now
from mssante_operator.monitoring.alarms import Alarm
from mssante_operator.monitoring.collector import Monitor
from mssante_operator.roles import maintenance
from tests.support.machines.daemon import lay_out, served
from tests.support.waiting import until, until_now


def lay_days(folder: Path, *ages: int) -> None:
    """Create a trace for each age in days."""
    for age in ages:
        path = hour_file(folder, (utc_now() - timedelta(days=age)).isoformat())
        path.parent.mkdir(parents=True)
        path.write_bytes(b"{}\n")


def ages(folder: Path) -> list[int]:
    today = utc_now().date()
    return [(today - hour.begins.date()) // timedelta(days=1) for hour in hours(folder)]


async def run(task: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    return asyncio.create_task(task)


async def end(task: "asyncio.Task[None]") -> None:
    assert not task.done()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_the_daemon_prunes_as_it_starts(tmp_path: Path) -> None:
    # DOMAIN §9.60: kept for six months and more, 200 days unless configured.
    daemon = lay_out(tmp_path / "a", "a")
    trace = daemon.folder / "data" / NAME
    lay_days(trace, 1, 183, 200, 201, 400)
    (trace / "keep.txt").write_bytes(b"notes of the site")
    with served(daemon):
        until_now(lambda: max(ages(trace)) == 200)
    assert [age for age in ages(trace) if age] == [200, 183, 1]
    assert (trace / "keep.txt").exists()
    until_now(lambda: "trace.pruned" in daemon.log())


async def test_each_day_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "PRUNE_SECONDS", 0.01)
    lay_days(tmp_path, 5)
    task = await run(maintenance._prune_traces(tmp_path, 10))
    for age in (11, 12, 300):
        lay_days(tmp_path, age)
        await until(lambda: ages(tmp_path) == [5])
    await end(task)


async def test_what_cannot_be_pruned_is_logged_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "PRUNE_SECONDS", 0.01)
    lay_days(tmp_path, 11)
    (hours(tmp_path)[0].path.parent / "evidence").write_bytes(b"")
    with capture_logs() as logs:
        stuck = await run(maintenance._prune_traces(tmp_path, 10))
        absurd = await run(maintenance._prune_traces(tmp_path, 10**12))
        await until(lambda: sum(log["event"] == "trace.unpruned" for log in logs) > 1)
        await until(lambda: sum(log["event"] == "maintenance.error" for log in logs) > 1)
        await end(stuck)
        await end(absurd)
    assert any("not empty" in log.get("why", "") for log in logs)


async def test_an_unforeseen_error_does_not_end_the_watch_over_alarms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Unwell(Monitor):
        """Monitor that raises an unexpected error, twice."""

        def __init__(self) -> None:
            self.calls = 0

        def alarms(self) -> list[Alarm]:
            self.calls += 1
            if self.calls < 3:
                raise RuntimeError("unforeseen")
            return []

    monkeypatch.setattr(maintenance, "ALARM_SECONDS", 0.0)
    monitor = Unwell()
    with capture_logs() as logs:
        task = await run(maintenance._watch_alarms(monitor))
        await until(lambda: monitor.calls > 4)
        await end(task)
    assert [log["event"] for log in logs] == ["maintenance.error"] * 2
