"""The spool guard: mail is deferred before the disk is full, and while the store is unwell."""

import asyncio
import os
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from mailstore.blobs.file_store import FileBlobStore
from mailstore.errors import StoreUnavailable
from relay.acceptance.disk_guard import (
    DiskGuard,
    DiskGuardState,
    DiskHealth,
    FreeSpace,
    FreeSpaceFloor,
    measure,
)
from relay.smtp.errors import Refused
from tests.support.rules import needs
from tests.support.waiting import until

NO_FLOOR = FreeSpaceFloor(0, 0)
HUGE = 2**62
WELL, LOW, UNWELL = DiskGuardState
HEALTH = DiskHealth(FreeSpaceFloor(1000, 100))
amounts = st.integers(0, 3000)


def nothing() -> None:
    """A probe that always succeeds."""


class TestHealth:
    @pytest.mark.parametrize(
        ("octets", "inodes", "state"),
        [
            (1000, 100, WELL),
            (1000, None, WELL),
            (999, 100, LOW),
            (1000, 99, LOW),
            (999, None, LOW),
            (0, 0, LOW),
        ],
    )
    def test_the_floor(self, octets: int, inodes: int | None, state: DiskGuardState) -> None:
        assert HEALTH.measured(FreeSpace(octets, inodes)).state is state

    def test_no_floor_asks_for_nothing(self) -> None:
        health = DiskHealth(NO_FLOOR).measured(FreeSpace(0, 0))
        assert health.state is WELL
        assert health.refusal(0) is None
        assert health.refusal(1) is not None  # more than there is

    @pytest.mark.parametrize(
        ("size", "code"), [(None, None), (0, None), (500, None), (501, 452), (10**12, 452)]
    )
    def test_a_declared_size_must_leave_the_floor_free(
        self, size: int | None, code: int | None
    ) -> None:
        health = HEALTH.measured(FreeSpace(1500, None))
        reply = health.refusal(size)
        assert (reply.code if reply else None) == code
        assert health.state is WELL

    def test_it_does_not_come_and_go_at_the_floor(self) -> None:
        health, states = HEALTH, []
        for octets in (1001, 999, 1000, 1001, 1099, 1100, 1099, 1000, 999):
            health = health.measured(FreeSpace(octets, None))
            states.append(health.state)
        assert states == [WELL, LOW, LOW, LOW, LOW, WELL, WELL, WELL, LOW]
        for inodes, state in ((109, LOW), (110, WELL), (100, WELL), (99, LOW)):
            health = health.measured(FreeSpace(2000, inodes))
            assert health.state is state

    def test_a_failure_holds_until_a_recovery_whatever_is_measured(self) -> None:
        failed = HEALTH.failed("disk gone").failed("and gone")
        assert (failed.state, failed.trouble) == (UNWELL, "disk gone")
        for health in (
            failed,
            failed.measured(FreeSpace(9999, None)),
            failed.measured(FreeSpace(0, 0)),
        ):
            assert health.state is UNWELL
            reply = health.refusal(None)
            assert reply is not None
            assert (reply.code, reply.enhanced) == (451, "4.3.0")
        assert failed.measured(FreeSpace(0, 0)).recovered().state is LOW
        assert failed.recovered().state is WELL
        assert HEALTH.failed("").state is UNWELL

    @given(st.lists(st.tuples(amounts, st.none() | amounts)), amounts)
    def test_what_is_taken_leaves_the_floor_free(
        self, rooms: list[tuple[int, int | None]], size: int
    ) -> None:
        health = HEALTH
        for octets, inodes in rooms:
            before, health = health.state, health.measured(FreeSpace(octets, inodes))
            taken = health.refusal(size) is None
            if taken:
                assert octets - size >= 1000
                assert inodes is None or inodes >= 100
            else:
                # Refused for a reason: too little is free, or was, with hardly more now.
                short = octets - size < 1000 or (inodes is not None and inodes < 100)
                near = octets < 1100 or (inodes is not None and inodes < 110)
                assert short or (before is LOW and near)


def test_the_real_file_system_is_measured(tmp_path: Path) -> None:
    found, room = os.statvfs(tmp_path), measure(tmp_path)
    assert 0 < room.octets <= found.f_blocks * found.f_frsize
    assert (room.inodes is None) == (found.f_files == 0)
    assert DiskGuard(tmp_path, NO_FLOOR, nothing).state is WELL


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte and four hundred files."""
    folder = tmp_path / "small"
    folder.mkdir()
    options = "size=1m,nr_inodes=400"
    words: list[str | Path] = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
    if shutil.which("mount") is None:
        pytest.skip(needs.program("mount", "mount"))
    if why := needs.root("a file system of its own"):
        pytest.skip(why)
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here, even by root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.integration
class TestSmallFileSystem:
    """On a real file system that becomes full."""

    async def test_octets(self, small: Path) -> None:
        disk_guard = DiskGuard(small, FreeSpaceFloor(512 * 1024, 0), nothing)
        disk_guard.check(400 * 1024)
        with pytest.raises(Refused, match=r"452 4\.3\.1"):
            disk_guard.check(600 * 1024)
        async with watched(disk_guard):
            fill(small / "large", 700 * 1024)
            await until(lambda: disk_guard.state is LOW)
            assert disk_guard.free_bytes == measure(small).octets
            for size in (None, 1):
                with pytest.raises(Refused, match=r"452 4\.3\.1"):
                    disk_guard.check(size)
            fill(small / "large", 100)
            await until(lambda: disk_guard.state is WELL)
            disk_guard.check(None)

    async def test_inodes(self, small: Path) -> None:
        disk_guard = DiskGuard(small, FreeSpaceFloor(0, 10), nothing)
        disk_guard.check(None)
        async with watched(disk_guard):
            for number in range(395):
                fill(small / str(number), 0)
            await until(lambda: disk_guard.state is LOW)
            assert disk_guard.free_inodes is not None
            assert disk_guard.free_inodes < 10
            with pytest.raises(Refused, match=r"452 4\.3\.1"):
                disk_guard.check(1)

    async def test_a_full_disk_and_its_recovery(self, small: Path) -> None:
        """The store's own probe fails while the disk is full."""
        blobs = FileBlobStore(small)
        fill(small / "large", 1024 * 1024)
        with pytest.raises(StoreUnavailable, match="No space left"):
            blobs.probe()
        disk_guard = DiskGuard(small, NO_FLOOR, blobs.probe)
        async with watched(disk_guard):
            disk_guard.failed("No space left on device")
            with pytest.raises(Refused, match=r"451 4\.3\.0 .* \[No space left on device; "):
                disk_guard.check(None)
            fill(small / "large", 0)
            await until(lambda: disk_guard.state is WELL)
        blobs.close()


def fill(path: Path, size: int) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        file.write(bytes(size))


@asynccontextmanager
async def watched(disk_guard: DiskGuard, patience: float = 20) -> AsyncIterator[None]:
    watch = asyncio.create_task(disk_guard.watch(0.001, patience))
    try:
        yield
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch


async def test_low_space_is_told_with_the_rule_and_the_figures(tmp_path: Path) -> None:
    disk_guard = DiskGuard(tmp_path, FreeSpaceFloor(HUGE, 0), nothing)
    assert disk_guard.state is LOW
    with pytest.raises(Refused) as refused:
        disk_guard.check(None)
    assert (refused.value.rule, str(refused.value.reply)) == (
        "spool",
        "452 4.3.1 Mail store is nearly full, try again later",
    )
    assert f"{disk_guard.free_bytes} octets" in refused.value.detail


class Probe:
    """A probe that fails until told otherwise."""

    def __init__(self, failure: Exception | None) -> None:
        self.failure = failure
        self.asked = 0

    def __call__(self) -> None:
        self.asked += 1
        if self.failure is not None:
            raise self.failure


@pytest.mark.parametrize(
    "failure", [StoreUnavailable("still gone"), ZeroDivisionError(), OSError()]
)
async def test_unwell_from_the_first_failure_until_a_probe_succeeds(
    tmp_path: Path, failure: Exception
) -> None:
    probe = Probe(failure)
    disk_guard = DiskGuard(tmp_path, NO_FLOOR, probe)
    async with watched(disk_guard):
        await until(lambda: disk_guard.free_bytes is not None)
        assert probe.asked == 0  # a store that is well is left alone
        with capture_logs() as logs:
            for _ in range(3):
                disk_guard.failed("cannot write to the blob store: Input/output error")
            assert disk_guard.state is UNWELL
            await until(lambda: probe.asked > 3)
            with pytest.raises(Refused, match=r"451 4\.3\.0 .*Input/output error"):
                disk_guard.check(None)
            probe.failure = None
            await until(lambda: disk_guard.state is WELL)
            disk_guard.check(None)
    # Logged at a change only.
    assert [(line["before"], line["state"]) for line in logs] == [
        ("well", "unwell"),
        ("unwell", "well"),
    ]


async def test_a_failure_during_a_probe_is_not_forgotten(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()
    probes = 0

    def probe() -> None:
        nonlocal probes
        probes += 1
        if probes == 1:
            begun.set()
            assert go_on.wait(20)
        elif probes == 2:
            raise StoreUnavailable("it is true")

    disk_guard = DiskGuard(tmp_path, NO_FLOOR, probe)
    disk_guard.failed("first")
    async with watched(disk_guard):
        await until(begun.is_set)
        disk_guard.failed("second")
        with capture_logs() as logs:
            go_on.set()
            await until(lambda: disk_guard.state is WELL)
    assert probes == 3
    assert len(logs) == 1


async def test_a_disk_that_does_not_answer_is_unwell(tmp_path: Path) -> None:
    """Here the probe hangs, like any access to such a disk."""
    go_on = threading.Event()

    def probe() -> None:
        assert go_on.wait(20)

    disk_guard = DiskGuard(tmp_path, NO_FLOOR, probe)
    disk_guard.failed("")
    with capture_logs():
        async with watched(disk_guard, patience=0.01):
            await until(lambda: disk_guard._failures == 2)
            assert disk_guard.state is UNWELL
            go_on.set()
            await until(lambda: disk_guard.state is WELL)


async def test_a_folder_that_is_gone_is_unwell(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    missing = DiskGuard(folder, NO_FLOOR, nothing)
    assert (missing.state, missing.free_bytes, missing.free_inodes) == (UNWELL, None, None)
    with pytest.raises(Refused, match=r"451 4\.3\.0 .*No such file"):
        missing.check(1)
    async with watched(missing):
        await asyncio.to_thread(folder.mkdir)
        await until(lambda: missing.state is WELL)
        missing.check(1)


@pytest.mark.parametrize("harm", ["gone", "a file"])
def test_the_probe_of_the_blob_store(tmp_path: Path, harm: str) -> None:
    blobs = FileBlobStore(tmp_path / "blobs")
    blobs.probe()
    drafts = tmp_path / "blobs" / "tmp"
    assert list(drafts.iterdir()) == []
    drafts.rmdir()
    if harm == "a file":
        drafts.touch()
    with pytest.raises(StoreUnavailable, match="cannot write to the blob store"):
        blobs.probe()
    blobs.close()


async def test_a_cheap_look_finds_trouble_before_a_message_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.acceptance.disk_guard.LOOK_SECONDS", 0.01)
    look, probe = Probe(None), Probe(None)
    disk_guard = DiskGuard(tmp_path, NO_FLOOR, probe, look)
    async with watched(disk_guard):
        await until(lambda: look.asked > 1)
        assert probe.asked == 0  # a probe costs a sync
        look.failure = probe.failure = StoreUnavailable("another program has the lock")
        await until(lambda: disk_guard.state is DiskGuardState.UNWELL)
        assert disk_guard.trouble == "another program has the lock"
        await until(lambda: probe.asked > 1)
        look.failure = probe.failure = None
        await until(lambda: disk_guard.state is DiskGuardState.WELL)


async def test_a_guard_that_cannot_look_takes_nothing_and_looks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A guard that ended would let the disk become full unseen, or refuse mail for ever.
    disk_guard = DiskGuard(tmp_path, NO_FLOOR, nothing)
    with capture_logs() as logs:
        async with watched(disk_guard):
            with monkeypatch.context() as broken:
                asked: list[Path] = []

                def failing(folder: Path) -> NoReturn:
                    asked.append(folder)
                    raise RuntimeError("can't start new thread")

                broken.setattr("relay.acceptance.disk_guard.measure", failing)
                await until(lambda: disk_guard.state is UNWELL)
                await until(lambda: len(asked) > 2)
                with pytest.raises(Refused, match=r"451 4\.3\.0 .*internal error: RuntimeError"):
                    disk_guard.check(1)
            await until(lambda: disk_guard.state is WELL)
    errors = [line["event"] for line in logs if line["event"] == "spool.error"]
    assert len(errors) == 1  # not one for each look
