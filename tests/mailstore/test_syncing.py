"""Syncing a group as one: in the right order, and one by one where that fails."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailstore import blobs as module
from mailstore.blobs import FileBlobStore
from mailstore.drafts import Draft
from mailstore.syncing import AVAILABLE, sync_filesystem

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
@pytest.mark.parametrize(("count", "syncs"), [(1, 0), (2, 0), (3, 2), (20, 2)])
def test_a_group_is_synced_before_and_after_it_gets_its_names(
    store: FileBlobStore, monkeypatch: pytest.MonkeyPatch, count: int, syncs: int
) -> None:
    named: list[int] = []

    def watched(descriptor: int) -> None:
        named.append(sum(1 for path in store.root.glob("??/*")))
        sync_filesystem(descriptor)

    monkeypatch.setattr(module, "sync_filesystem", watched)
    sealed = store.seal(drafts(store, count))
    assert all(isinstance(name, str) and store.exists(name) for name in sealed)
    # A power cut must never show a name whose content is not on disk.
    assert named == [0, count][:syncs]


@pytest.mark.parametrize("failing", [1, 2])
def test_where_it_fails_each_is_synced_by_itself(
    store: FileBlobStore, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    calls: list[int] = []

    def fails(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == failing:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(module, "AVAILABLE", True)
    monkeypatch.setattr(module, "sync_filesystem", fails)
    synced: list[str] = []
    fsync, fdatasync = os.fsync, os.fdatasync

    def one(descriptor: int) -> None:
        synced.append("directory")
        fsync(descriptor)

    def body(descriptor: int) -> None:
        synced.append("body")
        fdatasync(descriptor)

    group = drafts(store, 4)
    monkeypatch.setattr(os, "fsync", one)
    monkeypatch.setattr(os, "fdatasync", body)
    sealed = store.seal(group)
    assert all(isinstance(name, str) and store.exists(name) for name in sealed)
    assert synced.count("body") == (4 if failing == 1 else 0)
    assert "directory" in synced


def test_without_it_everything_is_synced_one_by_one(
    store: FileBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AVAILABLE", False)
    assert all(isinstance(name, str) for name in store.seal(drafts(store, 5)))
