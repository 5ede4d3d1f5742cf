"""Readiness with a store of bodies that answers but refuses writes."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mailstore.blobs.store import Store
from mssante_operator.assembly import disk_trials
from mssante_operator.assembly.disk_trials import open_disk_guard
from mssante_operator.assembly.storage import open_store
from mssante_operator.settings.model import load
from relay.acceptance import disk_guard as guard_module
from relay.acceptance.disk_guard import DiskGuardState
from tests.support.machines.cluster import keep_in_bucket
from tests.support.machines.daemon import Daemon, lay_out
from tests.support.storage.object_server import ObjectServer
from tests.support.waiting import until


@pytest.fixture
def operator_a(tmp_path: Path, object_server: ObjectServer) -> Daemon:
    daemon = lay_out(tmp_path / "a", "a")
    keep_in_bucket(daemon, object_server.place())
    return daemon


@pytest.fixture
def store(operator_a: Daemon) -> Iterator[Store]:
    with closing(open_store(load(operator_a.config))) as opened:
        yield opened


async def test_a_bucket_that_can_be_read_and_takes_nothing_is_unwell(
    operator_a: Daemon, store: Store, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_module, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(disk_trials, "TRIAL_SECONDS", 0.0)
    disk_guard = open_disk_guard(load(operator_a.config), store, bodies=True)
    watching = asyncio.create_task(disk_guard.watch(0.01))
    try:
        object_server.fail(403, "PUT", "probe", code="AccessDenied")
        await until(lambda: disk_guard.state is DiskGuardState.UNWELL)
        assert "403 AccessDenied" in disk_guard.trouble
        object_server.fail(200, "NONE")
        await until(lambda: disk_guard.state is DiskGuardState.WELL)
    finally:
        object_server.fail(200, "NONE")
        watching.cancel()


async def test_it_is_tried_now_and_then(
    operator_a: Daemon, store: Store, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_module, "LOOK_SECONDS", 0.0)
    object_server.asked()
    disk_guard = open_disk_guard(load(operator_a.config), store, bodies=True)
    watching = asyncio.create_task(disk_guard.watch(0.01))
    asked: list[str] = []

    def looked() -> bool:
        asked.extend(method for method, _ in object_server.asked())
        return asked.count("GET") > 3

    await until(looked)
    watching.cancel()
    assert asked.count("PUT") == 1
