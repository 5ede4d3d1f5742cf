"""The queue is measured beside the daemon, in rounds that no error ends; what the gauges say."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mailstore.database import Database
from mailstore.errors import StoreUnavailable
from mssante_operator import runtime
from mssante_operator.measuring import Measuring
from mssante_operator.queue_gauges import queue_gauges
from relay.operator_labels import UNLISTED, OperatorLabels
from relay.queue import Traffic
from relay.queue_depth import Depth, Tally
from relay.queue_filter import Standing
from tests.support.backlog import fill
from tests.support.clock import NOW
from tests.support.waiting import until

HOUR = timedelta(hours=1)


async def test_rounds_follow_the_queue_and_outlive_errors(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults: list[Exception] = [ValueError("a fault of ours"), StoreUnavailable("away")]
    read = Tally.read

    def failing(self: Tally, *given: object) -> bool:
        if faults:
            raise faults.pop()
        return read(self, *given)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(Tally, "read", failing)
    labels = OperatorLabels(tmp_path / "operators", lambda _domain: ())
    measuring = Measuring(database, labels, runtime.clock, interval=0.01, slice=7)

    def waiting(number: int) -> bool:
        depth = measuring.depth
        return depth is not None and depth.deliveries[Standing.WAITING] == number

    with capture_logs() as logs:
        running = asyncio.create_task(measuring.run())
        await until(lambda: waiting(0))
        fill(database, [("person", "b.mssante.fr", "x@a.mssante.fr", 50)])
        await until(lambda: waiting(50))
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    assert measuring.depth is not None
    assert measuring.depth.waiting == {UNLISTED: 50}
    assert [line["log_level"] for line in logs] == ["warning", "error"]
    assert {line["event"] for line in logs} == {"queue.unmeasured"}


def test_what_the_gauges_say() -> None:
    depth = Depth(
        at=NOW,
        deliveries={Standing.WAITING: 6, Standing.HELD: 1, Standing.FAILED: 0},
        waiting={"b": 3, "c": 3},
        oldest={Traffic.PERSON: NOW - HOUR},
        dead={"b": 2},
        paused={"b": 1},
        all_paused=True,
    )
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in queue_gauges(depth, NOW)
        for sample in family.samples
    }
    assert found == {
        ("mssante_queue_deliveries", "waiting"): 6,
        ("mssante_queue_deliveries", "held"): 1,
        ("mssante_queue_deliveries", "failed"): 0,
        ("mssante_queue_waiting", "b"): 3,
        ("mssante_queue_waiting", "c"): 3,
        ("mssante_queue_oldest_age_seconds", "person"): 3600,
        ("mssante_queue_oldest_age_seconds", "bulk"): 0,
        ("mssante_queue_measured_timestamp_seconds",): NOW.timestamp(),
        ("mssante_queue_paused",): 1,
        ("mssante_destinations_dead", "b"): 2,
        ("mssante_destinations_paused", "b"): 1,
    }
