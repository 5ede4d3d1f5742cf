"""Group sync: right order, and no trust after a failure."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from foundation.fsync import AVAILABLE, sync_filesystem
from mailstore.blobs import group_sync
from mailstore.blobs.file_store import FileBlobStore
from mailstore.errors import StoreUnavailable
from mailstore.sealed.draft import Draft

needs_syncfs = pytest.mark.skipif(not AVAILABLE, reason="no syncfs that reports errors here")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileBlobStore]:
    store = FileBlobStore(tmp_path / "blobs")
    yield store
    store.close()


def drafts(store: FileBlobStore, count: int) -> list[Draft]:
    made = [store.draft() for _ in range(count)]
    for number, draft in enumerate(made):
        draft.write(b"message %d\r\n" % number)
    return made


@needs_syncfs
def test_the_real_call(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    sync_filesystem(descriptor)
    os.close(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        sync_filesystem(descriptor)


@needs_syncfs
@pytest.mark.parametrize(("count", "syncs"), [(1, 0), (2, 0), (20, 2)])
def test_a_group_is_synced_before_and_after_it_gets_its_names(
    store: FileBlobStore, monkeypatch: pytest.MonkeyPatch, count: int, syncs: int
) -> None:
    named: list[int] = []

    def watched(descriptor: int) -> None:
        named.append(sum(1 for path in store.root.glob("??/*")))
        sync_filesystem(descriptor)

    monkeypatch.setattr(group_sync, "sync_filesystem", watched)
    sealed = store.seal(drafts(store, count))
    assert all(isinstance(name, str) and store.exists(name) for name in sealed)
    # A power cut must never leave a name without its content on disk.
    assert named == [0, count][:syncs]


class Disk:
    """Counts syncs, and fails the calls whose number within their kind is in `failing`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failing: dict[str, set[int]]) -> None:
        self.calls: list[str] = []
        self._failing = failing
        kinds: list[tuple[object, str, str]] = [
            (os, "fdatasync", "body"),
            (os, "fsync", "directory"),
            (group_sync, "sync_filesystem", "all"),
        ]
        for owner, name, kind in kinds:
            monkeypatch.setattr(owner, name, self._watched(kind, getattr(owner, name)))

    def _watched(self, kind: str, call: Callable[[int], None]) -> Callable[[int], None]:
        def watched(descriptor: int) -> None:
            self.calls.append(kind)
            if self.calls.count(kind) in self._failing.get(kind, ()):
                raise OSError(errno.EIO, "Input/output error")
            call(descriptor)

        return watched


@needs_syncfs
@pytest.mark.parametrize("failing", [1, 2])
def test_where_it_fails_nothing_of_the_group_is_trusted(
    store: FileBlobStore, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    # The error is already reported: a sync of each file would report success.
    disk = Disk(monkeypatch, {"all": {failing}})
    sealed = store.seal(drafts(store, 20))
    assert [type(one) for one in sealed] == [StoreUnavailable] * 20
    assert disk.calls == ["all"] * failing
    assert not any((store.root / "tmp").iterdir())


@needs_syncfs
@pytest.mark.parametrize("failing", [1, 2])
def test_what_was_not_synced_is_written_anew_when_it_comes_again(
    store: FileBlobStore, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    disk = Disk(monkeypatch, {"all": {failing}})
    store.seal(drafts(store, 20))
    before = {path.name: path.stat().st_ino for path in store.root.glob("??/*")}
    assert len(before) == (0 if failing == 1 else 20)
    names = [str(name) for name in store.seal(drafts(store, 20))]
    assert disk.calls == ["all"] * (failing + 2)
    after = {path.name: path.stat().st_ino for path in store.root.glob("??/*")}
    assert set(after) == set(names)
    assert not any(after[name] == inode for name, inode in before.items())
    # From then on they are referenced again.
    store.seal(drafts(store, 20))
    assert {path.name: path.stat().st_ino for path in store.root.glob("??/*")} == after


def test_a_directory_that_was_not_synced_is_no_proof(
    store: FileBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.seal(drafts(store, 1))  # its fan-out is now known to be on disk
    (path,) = store.root.glob("??/*")
    path.unlink()
    disk = Disk(monkeypatch, {"directory": {1}})
    (first,) = store.seal(drafts(store, 1))
    assert isinstance(first, StoreUnavailable)
    inode = path.stat().st_ino
    assert store.seal(drafts(store, 1)) == [path.name]
    assert path.stat().st_ino != inode
    assert disk.calls.count("body") == 2
    assert store.seal(drafts(store, 1)) == [path.name]
    assert disk.calls.count("body") == 2


@needs_syncfs
def test_a_body_that_was_in_its_file_before_is_asked_itself(
    store: FileBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A write error from before the group is reported only to the draft's own descriptor.
    early = store.draft()
    early.write(b"x" * 300_000)
    assert early.spilled
    disk = Disk(monkeypatch, {"body": {1}})
    *others, last = store.seal([*drafts(store, 4), early])
    assert all(isinstance(one, str) for one in others)
    assert isinstance(last, StoreUnavailable)
    assert disk.calls[:2] == ["all", "body"]


@needs_syncfs
def test_a_failure_told_to_somebody_else_is_ours_too(
    store: FileBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = drafts(store, 4)
    call, told = sync_filesystem, list[bool]()

    def told_to_another(descriptor: int) -> None:
        if not told:
            told.append(True)
            monkeypatch.setattr(group_sync, "sync_filesystem", fails)
            assert all(isinstance(one, StoreUnavailable) for one in store.seal(drafts(store, 3)))
            monkeypatch.setattr(group_sync, "sync_filesystem", told_to_another)
        call(descriptor)

    def fails(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(group_sync, "sync_filesystem", told_to_another)
    assert all(isinstance(one, StoreUnavailable) for one in store.seal(group))


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM])
def test_where_there_is_no_such_call_each_is_synced_by_itself(
    store: FileBlobStore, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(group_sync, "sync_filesystem", refused)
    monkeypatch.setattr(store._syncer, "_as_one", True)
    disk = Disk(monkeypatch, {})
    for count in (5, 6):
        assert all(isinstance(name, str) for name in store.seal(drafts(store, count)))
    assert disk.calls.count("all") == 1
    assert disk.calls.count("body") == 6  # the second group has five stored bodies


def test_without_it_everything_is_synced_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_sync, "AVAILABLE", False)
    disk = Disk(monkeypatch, {})
    store = FileBlobStore(tmp_path / "blobs")
    assert all(isinstance(name, str) for name in store.seal(drafts(store, 5)))
    assert (disk.calls.count("all"), disk.calls.count("body")) == (0, 5)
    store.close()
