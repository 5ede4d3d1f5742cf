"""Readiness: its facts have an age, and the answer comes even if a check hangs."""

import asyncio
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from mssante_operator.http import answers as health_answers
from mssante_operator.http.answers import HealthService
from mssante_operator.jobs.store_watch import FRESH_SECONDS, StoreWatch
from mssante_operator.machine.run_directory import RunFolder
from mssante_operator.monitoring.collector import Monitor
from tests.support.machines.admin import HOST, serving
from tests.support.waiting import until


class Unwell(Database):
    """Database whose answers the test controls."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.why = ""


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> StoreWatch:
    database = Unwell()

    def read(_: StoreWatch) -> tuple[Sequence[str], Mapping[str, int]]:
        database.go_on.wait(60)
        if database.why:
            raise StoreUnavailable(database.why)
        return ["a.mssante.fr"], {}

    monkeypatch.setattr(StoreWatch, "_read", read)
    return StoreWatch(database)


async def test_an_answer_of_the_database_has_an_age(watch: StoreWatch) -> None:
    now, database = 100.0, cast("Unwell", watch.database)
    watch.monotonic = lambda: now
    assert watch.problem == "not checked yet"
    database.go_on.set()
    await watch.ask()
    assert (watch.problem, watch.hosted) == ("", ["a.mssante.fr"])
    database.go_on.clear()
    asking = asyncio.create_task(watch.ask())
    await asyncio.sleep(0)
    now += FRESH_SECONDS
    assert watch.problem == ""
    now += 1
    assert watch.problem == f"no answer from the database for {FRESH_SECONDS + 1:.0f} s"
    database.why = "gone"
    database.go_on.set()
    await asking
    assert watch.problem == "gone"
    assert watch.hosted == ["a.mssante.fr"], "what it said last is known still"


class Hanging(Monitor):
    """Monitor that never answers; calls are counted."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.asked = 0

    def problems(self) -> list[str]:
        self.asked += 1
        self.go_on.wait(60)
        return []

    def collect(self) -> list[object]:  # type: ignore[override]  # of nothing
        self.go_on.wait(60)
        return []


async def ask(port: int, path: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body


async def test_an_answer_that_is_not_understood_is_no_good_one(
    watch: StoreWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    cast("Unwell", watch.database).go_on.set()
    await watch.ask()
    assert watch.problem == ""

    def read(_: StoreWatch) -> object:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    monkeypatch.setattr(StoreWatch, "_read", read)
    await watch.ask()
    assert watch.problem == "unexpected answer of the database: UnicodeDecodeError"


async def test_a_judgement_that_hangs_is_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(health_answers, "ANSWER_SECONDS", 0.05)
    monitor = Hanging()
    health = HealthService(RunFolder(tmp_path))
    health.monitor = monitor
    monkeypatch.setattr(HealthService, "freshness", "fresh")
    async with serving(health) as port, asyncio.timeout(60):
        answers = await asyncio.gather(*(ask(port, "/readyz") for _ in range(10)))
        assert {code for code, _ in answers} == {503}
        assert "no result within" in answers[0][1]
        assert monitor.asked == 1, "they share one"
        assert (await ask(port, "/metrics"))[0] == 503
        assert (await ask(port, "/healthz")) == (200, "ok\n")
        monitor.go_on.set()
        await until(lambda: monitor.asked == 1)


async def test_before_there_is_a_monitor_it_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    run_folder = RunFolder(tmp_path)
    health = HealthService(run_folder)
    async with serving(health) as port, asyncio.timeout(60):
        code, text = await ask(port, "/readyz")
        assert (code, json.loads(text)["problems"]) == (503, ["maintenance: starting"])
        health.wait("no connection")
        run_folder.waits([("worker", "no connection")])
        code, text = await ask(port, "/readyz")
        assert json.loads(text)["problems"] == [
            "maintenance: no connection",
            "worker: no connection",
        ]
        assert 'mssante_alarm{name="process-waits"} 1.0' in (await ask(port, "/metrics"))[1]


def test_what_waits_is_noted_for_others(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.waiting() == []
    folder.waits([("worker", "b"), ("courier", "é")])
    assert folder.waiting() == [("courier", "é"), ("worker", "b")]
    (tmp_path / "waiting").write_text("[1, {")
    assert folder.waiting() == []
