"""Freeing and rewriting at any time: a body that a message may need is never lost."""

import hashlib
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from mailstore.blobs.file_store import FileBlobStore
from mailstore.blobs.gc import GcResult, rewrite_blobs
from mailstore.blobs.references import compare
from mailstore.db.schema import entries, messages
from mailstore.errors import NotFound
from mailstore.messages.messages import Message, NewMessage, store_messages
from mailstore.sealed.blob_format import SEGMENT, BlobFormat
from mailstore.sealed.keyring import rotate
from tests.support.storage.blobs import MADE, content, overwrite
from tests.support.storage.kept_bodies import BEFORE, NOW, OLD, Stored


@pytest.fixture
def plain(stored: Stored, tmp_path: Path) -> Iterator[Stored]:
    """A store without encryption: equal bodies have the same name there."""
    blobs = FileBlobStore(tmp_path / "plain", BlobFormat())
    yield Stored(stored.database, blobs, stored.box)
    blobs.close()


def test_what_a_message_needs_is_kept_and_the_rest_is_freed(stored: Stored) -> None:
    held, queued, orphan, fresh = (stored.put(text) for text in (b"held", b"queue", b"orp", b"fr"))
    stored.message(held, 4)
    stored.message(held, 4)
    stored.message(queued, 5, held=False, queued=True)
    os.utime(stored.blobs.path(fresh))  # sealed just now, its row not committed yet
    size = stored.blobs.path(orphan).stat().st_size
    assert stored.collect() == GcResult(0, 1, size)
    assert set(stored.blobs.names()) == {held, queued, fresh}
    with pytest.raises(NotFound):
        stored.blobs.open(orphan)
    assert stored.collect() == GcResult(0, 0, 0)


def test_a_message_that_nothing_holds_goes_with_its_body_after_the_grace(stored: Stored) -> None:
    sent, shared = stored.put(b"sent"), stored.put(b"shared")
    stored.message(sent, 4, held=False)
    stored.message(shared, 6, held=False)
    kept = stored.message(shared, 6)
    young = stored.message(sent, 4, held=False, at=NOW)
    freed = stored.collect()
    assert (freed.messages, freed.blobs) == (2, 0)
    with stored.database.write() as conn:
        assert set(conn.scalars(select(messages.c.id))) == {kept, young}
        conn.execute(delete(messages).where(messages.c.id == young))
        conn.execute(delete(entries))
    assert stored.collect().messages == 1
    assert list(stored.blobs.names()) == []


def test_an_old_blob_counted_on_again_is_not_freed_before_its_row_is_there(plain: Stored) -> None:
    blob = plain.put(b"again")
    plain.put(b"again", old=False)  # stored already: its row is still to come
    assert plain.collect().blobs == 0
    assert content(plain.blobs, blob) == b"again"


def test_more_messages_than_one_group_are_dropped(stored: Stored) -> None:
    blob = stored.put(b"many")
    with stored.database.write() as conn:
        made = [Message(f"{i:032x}", "", blob, 4, "", "p", "s", OLD) for i in range(1201)]
        store_messages(conn, [NewMessage(one) for one in made], now=OLD)
    freed = stored.collect()
    assert (freed.messages, freed.blobs) == (1201, 1)


def test_freeing_and_counting_on_the_same_blobs_at_once_loses_none(stored: Stored) -> None:
    """Each blob is old and without a message when it is sealed again during its freeing."""
    bodies = [f"body {i}".encode() for i in range(40)]
    names = [stored.put(body) for body in bodies]
    over = threading.Event()
    freed: list[str] = []

    def free() -> None:
        # Like another process: with its own store, and so its own lock.
        other = FileBlobStore(stored.blobs.root, stored.blobs.blob_format)
        while not over.is_set():
            freed.extend(name for name in names if other.free(name, BEFORE) is not None)
        other.close()

    freeing = threading.Thread(target=free)
    freeing.start()
    chance = random.Random(0)
    try:
        for _ in range(400):
            body = chance.choice(bodies)
            blob = stored.put(body, old=False)
            # The reference is within the grace period, so the blob exists, whatever the other did.
            assert content(stored.blobs, blob) == body
            stored.age(blob)
    finally:
        over.set()
        freeing.join()
    assert len(freed) > len(names) / 2


def test_nobody_frees_between_the_finding_of_a_blob_and_its_marking(
    plain: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = plain.put(b"wanted")
    freed: list[int | None] = []
    threads = []
    mark = os.utime

    def utime(path: Path) -> None:
        # The worst moment: the blob was found, is still old, and is about to be freed.
        thread = threading.Thread(target=lambda: freed.append(plain.blobs.free(blob, BEFORE)))
        thread.start()
        threads.append(thread)
        thread.join(0.2)
        assert thread.is_alive(), "it was freed"
        mark(path)

    monkeypatch.setattr(os, "utime", utime)
    assert plain.put(b"wanted", old=False) == blob
    threads[0].join()
    assert freed == [None]
    assert content(plain.blobs, blob) == b"wanted"


def test_rewriting_brings_every_blob_to_the_newest_key(stored: Stored, tmp_path: Path) -> None:
    bodies = [random.Random(i).randbytes(i * 9_000) for i in range(40)]
    names = [stored.put(body) for body in bodies]
    named, names[3] = stored.blobs.path(names[3]), hashlib.sha256(bodies[3]).hexdigest()
    clear = named.rename(stored.blobs.path(names[3]))
    overwrite(clear, bodies[3])  # as stored before encryption
    key = rotate(tmp_path / "keys", MADE)
    told: list[int] = []
    done = rewrite_blobs(stored.blobs, told.append)
    assert (done.blobs, done.problems) == (40, ())
    assert told[-1] == 40
    for name, body in zip(names, bodies, strict=True):
        header = stored.blobs.header(name)
        assert header is not None
        assert header.key_id == key.id
        assert content(stored.blobs, name) == body
    assert rewrite_blobs(stored.blobs).blobs == 0
    # And back, with encryption off.
    off = FileBlobStore(stored.blobs.root, BlobFormat(stored.blobs.blob_format.keys, encrypt=False))
    assert rewrite_blobs(off).blobs == 40
    assert [content(off, name) for name in names] == bodies
    off.close()


def test_rewriting_goes_on_where_it_was_broken_off(stored: Stored, tmp_path: Path) -> None:
    names = [stored.put(f"body {i}".encode()) for i in range(40)]
    rotate(tmp_path / "keys", MADE)

    def break_off(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rewrite_blobs(stored.blobs, break_off)
    assert 0 < rewrite_blobs(stored.blobs).blobs < 40
    for i, name in enumerate(names):
        assert content(stored.blobs, name) == f"body {i}".encode()


def test_rewriting_leaves_what_is_damaged_as_it_is_and_tells(
    stored: Stored, tmp_path: Path
) -> None:
    good, bad = stored.put(b"good"), stored.put(bytes(2 * SEGMENT))
    path = stored.blobs.path(bad)
    overwrite(path, harmed := path.read_bytes()[:-1] + b"x")
    rotate(tmp_path / "keys", MADE)
    done = rewrite_blobs(stored.blobs)
    assert done.blobs == 1
    (problem,) = done.problems
    assert bad in problem
    assert path.read_bytes() == harmed
    assert content(stored.blobs, good) == b"good"


def test_the_merge_of_both_walks() -> None:
    assert list(compare(iter("abd"), iter([("b", 1), ("b", 2), ("c", 3)]))) == [
        ("a", True, []),
        ("b", True, [1, 2]),
        ("c", False, [3]),
        ("d", True, []),
    ]
