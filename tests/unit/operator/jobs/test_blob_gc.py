"""Garbage collection by the daemon: a failed round is logged, and the next round tries again."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
import structlog.testing

from mailstore.blobs.bodies import Bodies
from mailstore.blobs.store import Store
from mailstore.db.database import Database
from mailstore.sealed.blob_format import BlobFormat
from mailstore.sealed.draft import MEMORY_LIMIT
from mssante_operator.jobs.blob_gc import FREED, ROUNDS, BlobGcJob
from tests.support.clock import system_clock
from tests.support.storage.object_server import ObjectServer
from tests.support.storage.stores import KeptInBucket, draft
from tests.support.waiting import until

OLD = timedelta(days=2)


@pytest.fixture
def kept(object_server: ObjectServer, tmp_path: Path) -> Iterator[KeptInBucket]:
    kept = KeptInBucket(object_server, tmp_path / "drafts", BlobFormat())
    yield kept
    object_server.fail(200, "NONE")
    kept.store.close()


@pytest.fixture
def store(sqlite_template: Path, kept: KeptInBucket, tmp_path: Path) -> Iterator[Store]:
    path = tmp_path / "test.db"
    path.write_bytes(sqlite_template.read_bytes())
    with closing(Database(f"sqlite:///{path}")) as database:
        yield Store(Bodies(kept.store, database, system_clock), database)


def rounds(outcome: str) -> float:
    return float(ROUNDS.labels(outcome)._value.get())


async def test_a_round_that_fails_is_told_and_the_next_one_frees(
    store: Store, kept: KeptInBucket
) -> None:
    (blob,) = kept.store.seal([draft(kept.store, bytes(MEMORY_LIMIT + 1))])
    kept.age(str(blob), OLD)
    done, failed, bodies = rounds("done"), rounds("failed"), FREED.labels("bodies")._value.get()
    kept.server.fail(500, "GET")
    with structlog.testing.capture_logs() as logs:
        running = asyncio.create_task(BlobGcJob(store, 0.05).run())
        await until(lambda: rounds("failed") > failed)
        kept.server.fail(200, "NONE")
        await until(lambda: kept.count() == 0)
        await until(lambda: rounds("done") > done)
        running.cancel()
    assert FREED.labels("bodies")._value.get() == bodies + 1
    told = [one["event"] for one in logs]
    assert "store.unswept" in told
    assert "store.unfreed" in told
    (freed,) = [one for one in logs if one["event"] == "store.freed" and one["bodies"]]
    assert freed["octets"] > MEMORY_LIMIT


async def test_without_an_interval_it_only_sweeps(store: Store, kept: KeptInBucket) -> None:
    (blob,) = kept.store.seal([draft(kept.store, bytes(MEMORY_LIMIT + 1))])
    abandoned = draft(kept.store, bytes(MEMORY_LIMIT + 1))
    kept.bucket.put(f"{blob}/{'0' * 32}", kept.raw(str(blob)))
    kept.age(str(blob), OLD)
    with structlog.testing.capture_logs() as logs:
        await BlobGcJob(store, 0).run()
    assert logs == [{"event": "store.swept", "leftovers": 1, "log_level": "info"}]
    assert kept.count() == 1
    assert len(kept.leftovers()) == 1  # the draft may be in use
    abandoned.discard()


async def test_nothing_is_removed_by_a_clock_in_doubt(store: Store, kept: KeptInBucket) -> None:
    (blob,) = kept.store.seal([draft(kept.store, bytes(MEMORY_LIMIT + 1))])
    kept.bucket.put(f"{blob}/{'0' * 32}", kept.raw(str(blob)))
    kept.age(str(blob), OLD)
    doubts: list[bool] = []

    def in_doubt() -> bool:
        doubts.append(len(doubts) < 10)
        return doubts[-1]

    with structlog.testing.capture_logs() as logs:
        running = asyncio.create_task(BlobGcJob(store, 0.01, in_doubt).run())
        await until(lambda: len(doubts) >= 8)
        assert kept.count() == 2
        await until(lambda: kept.count() == 0)
        running.cancel()
    assert logs[0] == {
        "event": "store.unfreed",
        "why": "the clock jumped within the last day, or differs from the database's",
        "log_level": "warning",
    }


async def test_a_round_under_way_ends_with_the_process(
    store: Store, kept: KeptInBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(6):
        kept.store.seal([draft(kept.store, bytes(MEMORY_LIMIT + i))])
    kept.server.age(OLD, kept.bucket.place.prefix)
    loop, begun, told = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    free = Bodies.free

    def slow(bodies: Bodies, *given: object) -> int | None:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(told.wait(), loop).result()
        return free(bodies, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Bodies, "free", slow)
    running = asyncio.create_task(BlobGcJob(store, 0.05).run())
    await begun.wait()
    running.cancel()
    await asyncio.wait({running})
    told.set()
    await loop.shutdown_default_executor()
    assert kept.count() == 5
