"""Measurement of the queue: no error ends the rounds; values of the gauges."""

import asyncio
import json
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from mssante_operator.assembly.clock import utc_now
from mssante_operator.jobs.queue_measurement import QueueMeasurement
from mssante_operator.monitoring.queue_gauges import queue_gauges
from relay.operator_labels import UNLISTED, OperatorLabels
from relay.queue.model import Traffic
from relay.queue_admin.depth import DepthCount, QueueDepth
from relay.queue_admin.filter import DeliveryStatus
from tests.support.clock import NOW
from tests.support.delivery.backlog import fill
from tests.support.delivery.queued import Letter
from tests.support.delivery.queued import put as put_letters
from tests.support.machines.daemon import get, lay_out, served
from tests.support.waiting import until, until_now

HOUR = timedelta(hours=1)


async def test_rounds_follow_the_queue_and_outlive_errors(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults: list[Exception] = [ValueError("a fault of ours"), StoreUnavailable("away")]
    read = DepthCount.read

    def failing(self: DepthCount, *given: object) -> bool:
        if faults:
            raise faults.pop()
        return read(self, *given)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(DepthCount, "read", failing)
    labels = OperatorLabels(tmp_path / "operators", lambda _domain: ())
    queue_measurement = QueueMeasurement(database, labels, utc_now, interval=0.01, slice=7)

    def waiting(number: int) -> bool:
        depth = queue_measurement.depth
        return depth is not None and depth.deliveries[DeliveryStatus.WAITING] == number

    with capture_logs() as logs:
        running = asyncio.create_task(queue_measurement.run())
        await until(lambda: waiting(0))
        fill(database, [("person", "b.mssante.fr", "x@a.mssante.fr", 50)])
        await until(lambda: waiting(50))
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    assert queue_measurement.depth is not None
    assert queue_measurement.depth.waiting == {UNLISTED: 50}
    assert [line["log_level"] for line in logs] == ["warning", "error"]
    assert {line["event"] for line in logs} == {"queue.unmeasured"}


def test_what_the_gauges_say() -> None:
    depth = QueueDepth(
        at=NOW,
        deliveries={DeliveryStatus.WAITING: 6, DeliveryStatus.HELD: 1, DeliveryStatus.FAILED: 0},
        waiting={"b": 3, "c": 3},
        oldest={Traffic.PERSON: NOW - HOUR},
        dead={"b": 2},
        paused={"b": 1},
        all_paused=True,
        unreadable=2,
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
        ("mssante_queue_bodies_unreadable",): 2,
        ("mssante_queue_waiting", "b"): 3,
        ("mssante_queue_waiting", "c"): 3,
        ("mssante_queue_oldest_age_seconds", "person"): 3600,
        ("mssante_queue_oldest_age_seconds", "bulk"): 0,
        ("mssante_queue_measured_timestamp_seconds",): NOW.timestamp(),
        ("mssante_queue_paused",): 1,
        ("mssante_destinations_dead", "b"): 2,
        ("mssante_destinations_paused", "b"): 1,
    }


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_neither_a_scrape_nor_readiness_looks_at_the_queue(
    database: Database, tmp_path: Path
) -> None:
    daemon = lay_out(tmp_path / "a", "a", workers=1)
    url = database.url.render_as_string(hide_password=False)
    line = f"[storage]\ndatabase = {json.dumps(url)}\n"
    daemon.config.write_text(daemon.config.read_text().replace("[storage]\n", line))
    with served(daemon):
        until_now(lambda: "mssante_queue_deliveries{" in get(daemon, "/metrics")[1])
        with database.connect() as connection:
            # From here on a reader of its rows blocks.
            connection.execute(text("LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE"))
            status, metrics = get(daemon, "/metrics")
            assert (status, get(daemon, "/readyz")[0]) == (200, 200)
            connection.rollback()
    assert 'mssante_queue_deliveries{state="waiting"} 0.0\n' in metrics
    assert "mssante_store_available 1.0\n" in metrics


def test_mail_held_for_its_body_is_an_alarm_and_in_the_list(
    database: Database, tmp_path: Path
) -> None:
    daemon = lay_out(tmp_path / "a", "a", workers=1)
    url = database.url.render_as_string(hide_password=False)
    line = f"[storage]\ndatabase = {json.dumps(url)}\n"
    daemon.config.write_text(daemon.config.read_text().replace("[storage]\n", line))
    put_letters(
        database,
        Letter(held="body missing: the blob is gone", unreadable=True),
        now=utc_now(),
    )
    listed = json.loads(daemon.run("queue", "list", "--state", "held", "--json"))
    assert [one["held"] for one in listed] == ["body missing: the blob is gone"]

    def stands() -> bool:
        text = get(daemon, "/metrics")[1]
        return (
            'mssante_alarm{name="body-unreadable"} 1.0' in text
            and "mssante_queue_bodies_unreadable 1.0" in text
        )

    with served(daemon):
        until_now(stands)
