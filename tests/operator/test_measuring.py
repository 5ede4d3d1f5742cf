"""The queue is measured beside the daemon, in rounds that no error ends; what the gauges say."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from mailstore.database import Database
from mailstore.errors import StoreUnavailable
from mssante_operator import runtime
from mssante_operator.measuring import Measuring
from mssante_operator.queue_gauges import queue_gauges
from relay.queue import Traffic
from relay.queue_depth import Depth, Tally
from relay.queue_destinations import Known, Map
from relay.queue_filter import Standing
from tests.support.backlog import fill
from tests.support.clock import NOW
from tests.support.waiting import until

HOUR = timedelta(hours=1)


async def test_rounds_follow_the_queue_and_outlive_errors(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults: list[Exception] = [ValueError("a fault of ours"), StoreUnavailable("away")]
    read = Tally.read

    def failing(self: Tally, *given: object) -> bool:
        if faults:
            raise faults.pop()
        return read(self, *given)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(Tally, "read", failing)
    measuring = Measuring(database, runtime.clock, interval=0.01, slice=7)

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
    assert [line["log_level"] for line in logs] == ["warning", "error"]
    assert {line["event"] for line in logs} == {"queue.unmeasured"}


def test_gauges_sum_up_domains_by_operator() -> None:
    depth = Depth(
        at=NOW,
        deliveries={Standing.WAITING: 6, Standing.HELD: 1, Standing.FAILED: 0},
        waiting={"b1": 1, "b2": 2, "c1": 3},
        oldest={Traffic.PERSON: NOW - HOUR},
        destinations=Map(
            {
                "b1": Known(dead_until=NOW),
                "b2": Known(dead_until=NOW, paused=True),
                "c1": Known(),
            },
            all_paused=True,
        ),
    )
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in queue_gauges(depth, NOW, lambda domain: domain[0])
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
