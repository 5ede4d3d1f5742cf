"""Drafts: octets on their way in."""

import hashlib
import io
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mailstore.errors import StoreUnavailable
from mailstore.sealed.blob_reader import open_content
from mailstore.sealed.draft import EXTENDED_LIMIT, MEMORY_LIMIT, Draft, DraftMemory
from tests.support.storage.blobs import FORMS, form


def opened(folder: Path, name: str, kind: str) -> bytes:
    with open_content(io.FileIO(folder / "blob"), name, form(kind, folder).keys) as file:
        return file.read()


@pytest.mark.parametrize("size", [0, 1, MEMORY_LIMIT, MEMORY_LIMIT + 1, 3 * MEMORY_LIMIT + 17])
@pytest.mark.parametrize("step", [999, 64 * 1024, 10**7])
@pytest.mark.parametrize("kind", FORMS)
def test_all_bytes_arrive_counted_and_hashed(
    tmp_path: Path, size: int, step: int, kind: str
) -> None:
    data = random.Random(size).randbytes(size)
    draft = Draft(tmp_path, form(kind, tmp_path))
    for start in range(0, size, step):
        draft.write(memoryview(data)[start : start + step])
    assert draft.size == size
    assert draft.named_by_content != kind.startswith("encrypted")
    assert not draft.named_by_content or draft.blob == hashlib.sha256(data).hexdigest()
    draft.spill()
    draft.sync()
    draft.place(tmp_path / "blob")
    assert draft.ended
    assert opened(tmp_path, draft.blob, kind) == data
    assert {path.name for path in tmp_path.iterdir()} - {"keys"} == {"blob"}


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("begun", [False, True])
def test_a_write_that_the_system_cuts_short_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, *, begun: bool
) -> None:
    # More segments than the system takes in a write, of which it takes only a part.
    data = random.Random(1).randbytes(5 * 1024 * 1024)
    writev = os.writev

    def some(descriptor: int, parts: Sequence[bytes]) -> int:
        assert len(parts) <= os.sysconf("SC_IOV_MAX")
        whole = b"".join(parts)
        return writev(descriptor, [whole[: len(whole) // 2 + 1]])

    monkeypatch.setattr(os, "writev", some)
    draft = Draft(tmp_path, form(kind, tmp_path))
    if begun:
        draft.write(data[: MEMORY_LIMIT + 1])
    draft.write(data[draft.size :])
    draft.spill()
    draft.place(tmp_path / "blob")
    assert opened(tmp_path, draft.blob, kind) == data


def test_small_drafts_stay_in_memory_and_large_ones_do_not(tmp_path: Path) -> None:
    draft = Draft(tmp_path)
    draft.write(b"x" * (MEMORY_LIMIT - 1))
    assert not draft.would_block(1)
    draft.write(b"x")
    assert list(tmp_path.iterdir()) == []
    assert draft.would_block(1)
    for _ in range(200):
        draft.write(b"x" * 50_000)
        assert len(draft._buffer) <= MEMORY_LIMIT
    [file] = tmp_path.iterdir()
    assert file.stat().st_size > draft.size - MEMORY_LIMIT
    draft.discard()


@pytest.mark.parametrize("size", [1, 2 * MEMORY_LIMIT])
def test_a_discarded_draft_leaves_nothing_and_takes_nothing(tmp_path: Path, size: int) -> None:
    draft = Draft(tmp_path)
    draft.write(b"x" * size)
    draft.discard()
    draft.discard()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreUnavailable, match="was discarded"):
        draft.write(b"x")
    with pytest.raises(StoreUnavailable, match="was discarded"):
        draft.spill()


def test_a_failed_write_ends_the_draft(tmp_path: Path) -> None:
    draft = Draft(tmp_path / "none")
    with pytest.raises(StoreUnavailable, match="blob store: No such file or directory"):
        draft.write(b"x" * (MEMORY_LIMIT + 1))
    (tmp_path / "none").mkdir()
    # A draft with lost octets must not be sealed as if it were whole.
    with pytest.raises(StoreUnavailable, match="No such file"):
        draft.write(b"x")
    with pytest.raises(StoreUnavailable, match="No such file"):
        draft.spill()


def test_a_failed_rename_leaves_nothing(tmp_path: Path) -> None:
    draft = Draft(tmp_path)
    draft.write(b"x" * (MEMORY_LIMIT + 1))
    (tmp_path / "blob").mkdir()
    draft.spill()
    draft.sync()
    with pytest.raises(StoreUnavailable, match="blob store: Is a directory"):
        draft.place(tmp_path / "blob")
    assert [path.name for path in tmp_path.iterdir()] == ["blob"]


@pytest.mark.parametrize("size", [0, 1, MEMORY_LIMIT, MEMORY_LIMIT + 1, 3 * MEMORY_LIMIT + 17])
@pytest.mark.parametrize("chunk", [1000, 128 * 1024, 10**7])
@pytest.mark.parametrize("kind", FORMS)
def test_what_is_written_so_far_can_be_read_back(
    tmp_path: Path, size: int, chunk: int, kind: str
) -> None:
    data = random.Random(size).randbytes(size)
    draft = Draft(tmp_path, form(kind, tmp_path))
    for start in range(0, size, 50_000):
        draft.write(data[start : start + 50_000])
    assert draft.spilled == (size > MEMORY_LIMIT)
    for _ in range(2):
        read = list(draft.chunks(chunk))
        assert b"".join(read) == data
        assert all(0 < len(piece) <= chunk for piece in read)
    # Reading changes nothing: the draft continues, and is placed whole.
    draft.write(b"and more")
    assert b"".join(draft.chunks()) == data + b"and more"
    if draft.named_by_content:
        assert draft.blob == hashlib.sha256(data + b"and more").hexdigest()
    draft.spill()
    assert b"".join(draft.chunks()) == data + b"and more"
    draft.sync()
    draft.place(tmp_path / "blob")
    assert opened(tmp_path, draft.blob, kind) == data + b"and more"


def test_what_is_to_be_encrypted_is_never_on_disk_in_clear(tmp_path: Path) -> None:
    secret = b"Compte rendu de Mme Durand\r\n"
    draft = Draft(tmp_path, form("encrypted", tmp_path))
    while draft.size <= 2 * MEMORY_LIMIT:
        draft.write(secret)
    [file] = tmp_path.glob("draft-*")
    assert file.stat().st_size >= MEMORY_LIMIT
    assert secret not in file.read_bytes()
    draft.spill()
    assert secret not in file.read_bytes()
    draft.discard()


@pytest.mark.parametrize("size", [MEMORY_LIMIT, 3 * MEMORY_LIMIT])
def test_a_reader_under_way_is_not_disturbed(tmp_path: Path, size: int) -> None:
    data = random.Random(1).randbytes(size)
    draft = Draft(tmp_path)
    draft.write(data)
    reading = draft.chunks(1000)
    read = [next(reading)]
    draft.write(b"x" * MEMORY_LIMIT)
    read += [next(reading), next(reading)]
    draft.discard()
    # The number of the closed descriptor now belongs to other octets.
    other = Draft(tmp_path)
    other.write(b"y" * size * 2)
    assert b"".join([*read, *reading]) == data
    other.discard()


@pytest.mark.parametrize("size", [1, 2 * MEMORY_LIMIT])
def test_an_ended_draft_cannot_be_read(tmp_path: Path, size: int) -> None:
    draft = Draft(tmp_path)
    draft.write(b"x" * size)
    reading = draft.chunks()
    draft.discard()
    with pytest.raises(StoreUnavailable, match="was discarded"):
        next(reading)


@pytest.mark.parametrize(
    "damage", [lambda file: os.truncate(file, 100), Path.unlink], ids=["cut", "gone"]
)
def test_a_draft_whose_file_was_harmed_is_given_up(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    draft = Draft(tmp_path)
    draft.write(b"x" * 2 * MEMORY_LIMIT)
    [file] = tmp_path.iterdir()
    damage(file)
    with pytest.raises(StoreUnavailable, match="cannot read from the blob store"):
        list(draft.chunks())
    assert draft.ended
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreUnavailable, match="cannot read from the blob store"):
        draft.spill()


def test_what_there_is_room_for_stays_in_memory(tmp_path: Path) -> None:
    room = DraftMemory(3 * MEMORY_LIMIT)
    one, other = Draft(tmp_path, room=room), Draft(tmp_path, room=room)
    for draft in (one, other):
        assert not draft.would_block(MEMORY_LIMIT)
        draft.write(b"x" * MEMORY_LIMIT)
    assert not one.would_block(2 * MEMORY_LIMIT)
    one.write(b"x" * 2 * MEMORY_LIMIT)
    assert not one.spilled
    # One share is left, and two would be needed.
    assert other.would_block(MEMORY_LIMIT + 1)
    other.write(b"x" * (MEMORY_LIMIT + 1))
    assert other.spilled
    # Room is released by a draft that spilled, and by a draft that ended.
    other.discard()
    one.discard()
    assert [room.reserve() for _ in range(4)] == [True, True, True, False]


def test_one_draft_does_not_take_all_the_room(tmp_path: Path) -> None:
    draft = Draft(tmp_path, room=DraftMemory(100 * EXTENDED_LIMIT))
    draft.write(b"x" * EXTENDED_LIMIT)
    assert list(tmp_path.iterdir()) == []
    assert draft.would_block(1)
    draft.write(b"x")
    assert len(list(tmp_path.iterdir())) == 1
    draft.discard()


@pytest.mark.parametrize("ending", ["discard", "sealed", "spill"])
def test_room_is_given_back_at_the_end(tmp_path: Path, ending: str) -> None:
    room = DraftMemory(MEMORY_LIMIT)
    for _ in range(3):
        draft = Draft(tmp_path, room=room)
        draft.write(b"x" * 2 * MEMORY_LIMIT)
        assert not draft.spilled
        getattr(draft, ending)()
        draft.discard()
    assert room.reserve()
