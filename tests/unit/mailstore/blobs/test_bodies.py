"""Small bodies in the database, larger bodies in the blob store, behind one interface."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from mailstore.blobs import db_store
from mailstore.blobs.bodies import Bodies, PreparedBody
from mailstore.blobs.file_store import FileBlobStore
from mailstore.blobs.gc import GRACE, collect_garbage, rewrite_blobs
from mailstore.blobs.verify import BlobFault, verify_blobs
from mailstore.db.database import Database
from mailstore.db.schema import bodies as table
from mailstore.db.schema import mailbox_changes
from mailstore.errors import BlobDamaged, KeyMissing, NotFound, StoreUnavailable
from mailstore.messages.messages import Message, NewMessage, store_messages
from mailstore.sealed.blob_format import BlobFormat
from mailstore.sealed.draft import Draft
from mailstore.sealed.keyring import rotate
from tests.support.clock import NOW
from tests.support.storage.blobs import FORMS, content, drafted, form

LIMIT = 100  # limit of small bodies here, in octets
TINY, EDGE, OVER = b"tiny\r\n", b"e" * LIMIT, b"o" * (LIMIT + 1)
LONG_AGO = NOW - timedelta(days=3)
BEFORE = NOW - timedelta(days=1)


@pytest.fixture
def blobs(tmp_path: Path) -> Iterator[FileBlobStore]:
    store = FileBlobStore(tmp_path / "blobs", form("encrypted", tmp_path))
    yield store
    store.close()


@pytest.fixture
def store(blobs: FileBlobStore, database: Database) -> Bodies:
    return Bodies(blobs, database, lambda: NOW, LIMIT)


def draft(store: Bodies, text: bytes) -> Draft:
    return drafted(store, text)


def name(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def put(store: Bodies, *texts: bytes) -> list[str]:
    found = store.seal([draft(store, text) for text in texts])
    assert found == [name(text) for text in texts]
    return [str(one) for one in found]


def age(database: Database, blob: str) -> None:
    with database.write() as conn:
        chosen = table.c.blob == bytes.fromhex(blob)
        conn.execute(update(table).where(chosen).values(used_at=LONG_AGO))


def damage(database: Database, blob: str, sealed: bytes) -> None:
    with database.write() as conn:
        chosen = table.c.blob == bytes.fromhex(blob)
        conn.execute(update(table).where(chosen).values(sealed=sealed))


def sealed(database: Database, blob: str) -> bytes:
    with database.read() as conn:
        found = conn.scalar(select(table.c.sealed).where(table.c.blob == bytes.fromhex(blob)))
    assert found is not None
    return bytes(found)


def test_the_limit_says_where(store: Bodies, blobs: FileBlobStore) -> None:
    put(store, TINY, OVER, EDGE, b"")
    assert set(blobs.names()) == {name(OVER)}
    assert list(store.names()) == sorted(map(name, (TINY, OVER, EDGE, b"")))
    for text in (TINY, OVER, EDGE, b""):
        assert content(store, name(text)) == text
        assert store.exists(name(text))


@pytest.mark.parametrize("kind", FORMS)
def test_every_form(kind: str, database: Database, tmp_path: Path) -> None:
    blobs = FileBlobStore(tmp_path / "blobs", form(kind, tmp_path))
    store = Bodies(blobs, database, lambda: NOW, 200_000)  # more than two segments
    texts = [b"", TINY, bytes(range(256)) * 700]
    put(store, *texts)
    assert list(blobs.names()) == []
    assert [content(store, name(text)) for text in texts] == texts
    keys = blobs.blob_format.keys
    assert store.keys_used(10) == (keys.names if keys is not None else set())
    blobs.close()


def test_nothing_is_in_clear(store: Bodies, database: Database) -> None:
    (blob,) = put(store, b"Compte rendu du patient")
    assert b"patient" not in sealed(database, blob)


def test_the_limit_may_change(store: Bodies, blobs: FileBlobStore, database: Database) -> None:
    put(store, TINY, OVER)
    none, all_ = (Bodies(blobs, database, lambda: NOW, limit) for limit in (0, 10_000))
    for other in (none, all_):
        assert content(other, name(TINY)) == TINY
        assert content(other, name(OVER)) == OVER
    put(none, TINY)
    put(all_, OVER)
    assert list(store.names()) == sorted([name(TINY), name(OVER)])  # each only once


def keep_and_fail(store: Bodies, database: Database, prepared: Sequence[object]) -> None:
    with database.write() as conn:
        store.keep(conn, [one for one in prepared if isinstance(one, PreparedBody)], now=NOW)
        conn.execute(update(mailbox_changes).values(id=2))  # refused by the table


def test_a_small_body_is_there_with_its_message_or_not_at_all(
    store: Bodies, database: Database
) -> None:
    prepared = store.prepare([draft(store, TINY)])
    assert not store.exists(name(TINY))
    with pytest.raises(IntegrityError):
        keep_and_fail(store, database, prepared)
    assert not store.exists(name(TINY))
    with pytest.raises(NotFound):
        store.open(name(TINY))


def test_a_failed_draft_spares_its_neighbours(store: Bodies) -> None:
    drafts = [draft(store, text) for text in (TINY, EDGE, OVER)]
    drafts[1].discard()
    first, second, third = store.seal(drafts)
    assert (first, third) == (name(TINY), name(OVER))
    assert isinstance(second, StoreUnavailable)
    assert all(one.ended for one in drafts)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_lost_database_fails_what_is_small_alone(
    store: Bodies, database: Database, database_url: str
) -> None:
    database.close()
    Path(database_url.removeprefix("sqlite:///")).write_bytes(b"garbage" * 1000)
    first, second = store.seal([draft(store, TINY), draft(store, OVER)])
    assert isinstance(first, StoreUnavailable)
    assert second == name(OVER)


@pytest.mark.parametrize(
    ("altered", "error"),
    [
        (lambda found: found[:-1], BlobDamaged),
        (lambda found: found[:-1] + bytes([found[-1] ^ 1]), BlobDamaged),
        (lambda found: found[:5] + b"?" + found[6:], BlobDamaged),
        (lambda found: found[:0], BlobDamaged),
    ],
    ids=["cut", "altered", "header", "emptied"],
)
def test_what_was_damaged_is_noticed(
    store: Bodies, database: Database, altered: Callable[[bytes], bytes], error: type[Exception]
) -> None:
    (blob,) = put(store, TINY)
    damage(database, blob, altered(sealed(database, blob)))
    with pytest.raises(error):
        content(store, blob)
    (finding,) = [
        one
        for one in verify_blobs(database, store, BEFORE)
        if one.fault is not BlobFault.UNREFERENCED
    ]
    assert (finding.fault, finding.blob) == (BlobFault.DAMAGED, blob)


def test_one_body_in_the_place_of_another(store: Bodies, database: Database) -> None:
    one, other = put(store, TINY, b"TINY\r\n")
    damage(database, one, sealed(database, other))
    with pytest.raises(BlobDamaged):
        content(store, one)


def test_without_its_key(store: Bodies, blobs: FileBlobStore, database: Database) -> None:
    (blob,) = put(store, TINY)
    with pytest.raises(KeyMissing):
        content(Bodies(FileBlobStore(blobs.root), database, lambda: NOW), blob)


def test_equal_bodies_are_one_row_and_marked_as_used(store: Bodies, database: Database) -> None:
    (blob,) = put(store, TINY)
    first = sealed(database, blob)
    age(database, blob)
    assert store.unused_since(blob, BEFORE)
    put(store, TINY, TINY)
    assert not store.unused_since(blob, BEFORE)
    assert sealed(database, blob) == first
    assert store.free(blob, BEFORE) is None


def test_gc_frees_what_no_message_needs(store: Bodies, database: Database) -> None:
    held, old, young, large = put(store, TINY, EDGE, b"young", OVER)
    with database.write() as conn:
        message = Message("0" * 32, "", held, len(TINY), "", "local", "s", NOW)
        store_messages(conn, [NewMessage(message)], now=NOW)
    for blob in (held, old):
        age(database, blob)
    octets = len(sealed(database, old))
    freed = collect_garbage(database, store, BEFORE)
    assert (freed.messages, freed.blobs, freed.octets) == (0, 1, octets)
    assert set(store.names()) == {held, young, large}


def test_what_is_counted_on_at_that_moment_is_not_freed(
    store: Bodies, database: Database, dialect: str
) -> None:
    """The transaction of an equal message is open when the body is to be freed."""
    (blob,) = put(store, TINY)
    age(database, blob)
    (prepared,) = store.prepare([draft(store, TINY)])
    assert isinstance(prepared, PreparedBody)
    freed: list[int | None] = []
    freeing = threading.Thread(target=lambda: freed.append(store.free(blob, BEFORE)))
    with database.write() as conn:
        store.keep(conn, [prepared], now=NOW)
        freeing.start()
        freeing.join(0.3)  # waits for us, on either database
        assert freeing.is_alive(), dialect
    freeing.join(10)
    assert freed == [None]
    assert content(store, blob) == TINY


def test_what_is_freed_at_that_moment_is_kept_anew(store: Bodies, database: Database) -> None:
    """The reverse: the body is being freed when an equal message comes."""
    (blob,) = put(store, TINY)
    (prepared,) = store.prepare([draft(store, TINY)])
    assert isinstance(prepared, PreparedBody)

    def keep() -> None:
        with database.write() as conn:
            store.keep(conn, [prepared], now=NOW)

    keeping = threading.Thread(target=keep)
    with database.write() as conn:
        conn.execute(table.delete().where(table.c.blob == bytes.fromhex(blob)))
        keeping.start()
        keeping.join(0.3)
        assert keeping.is_alive()
    keeping.join(10)
    assert content(store, blob) == TINY


def test_rewriting_moves_to_the_newest_key(
    store: Bodies, database: Database, tmp_path: Path
) -> None:
    texts = (TINY, EDGE, OVER)
    put(store, *texts)
    new = rotate(tmp_path / "keys", NOW)
    done = rewrite_blobs(store)
    assert (done.blobs, done.problems) == (3, ())
    assert store.keys_used(10) == {new.id}
    assert [content(store, name(text)) for text in texts] == list(texts)
    assert rewrite_blobs(store).blobs == 0
    off = Bodies(
        FileBlobStore(tmp_path / "blobs", BlobFormat(store.blob_format.keys, encrypt=False)),
        database,
        lambda: NOW,
    )
    assert rewrite_blobs(off).blobs == 3


def test_names_come_in_pages(store: Bodies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db_store, "_PAGE", 3)
    texts = [b"%d" % n for n in range(7)]
    put(store, *texts)
    assert list(store.names()) == sorted(map(name, texts))


def test_small_bodies_are_fetched_together_and_opened_without_the_database(store: Bodies) -> None:
    names = [str(name) for name in store.seal([draft(store, text) for text in (TINY, EDGE, OVER)])]
    found = store.sealed([*names, "0" * 64])
    assert found.keys() == set(names[:2])
    opened = {name: store.unseal(name, sealed).read() for name, sealed in found.items()}
    assert opened == {names[0]: TINY, names[1]: EDGE}
    with pytest.raises(BlobDamaged):
        store.unseal(names[0], found[names[1]])


@pytest.mark.parametrize("size", [0, LIMIT + 1])
def test_a_body_is_found_wherever_its_size_says_to_look_first(store: Bodies, size: int) -> None:
    for text in (TINY, OVER):
        (name,) = store.seal([draft(store, text)])
        with store.open(str(name), size) as body:
            assert body.read() == text
    with pytest.raises(NotFound):
        store.open("0" * 64, size)


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
@pytest.mark.parametrize("here", [False, True], ids=["new", "counted on"])
def test_what_a_machine_days_behind_has_stored_is_not_freed_by_another(
    store: Bodies, database: Database, *, here: bool
) -> None:
    # Another machine has read the messages, and reads the bodies now.
    (prepared,) = store.prepare([draft(store, TINY)])
    assert isinstance(prepared, PreparedBody)
    now = datetime.now(UTC)
    for clock in (now, now - 2 * GRACE) if here else (now - 2 * GRACE,):
        with database.write() as conn:
            store.keep(conn, [prepared], now=clock)
    assert store.free(prepared.blob, now - GRACE) is None
    assert content(store, prepared.blob) == TINY


@pytest.mark.parametrize("kind", FORMS)
def test_the_content_of_a_small_body_is_had_at_once(
    kind: str, database: Database, tmp_path: Path
) -> None:
    files = FileBlobStore(tmp_path / "blobs", form(kind, tmp_path))
    store = Bodies(files, database, lambda: NOW)
    (blob,) = put(store, TINY)
    sealed = store.sealed([blob])[blob]
    assert store.content(blob, sealed) == TINY
    for octets in (sealed[:-1], sealed[:-1] + bytes([sealed[-1] ^ 1])):
        with pytest.raises(BlobDamaged):
            store.content(blob, octets)
    files.close()
