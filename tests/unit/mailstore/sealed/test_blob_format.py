"""Format of a blob on disk: any change is detected before an octet is returned.

DOMAIN §9.63; the construction is STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015).
"""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailstore.blobs.file_store import FileBlobStore
from mailstore.errors import BlobDamaged, KeyMissing, StoreUnavailable
from mailstore.sealed.blob_format import HEADER, SEGMENT, TAG, BlobFormat
from mailstore.sealed.keyring import rotate
from tests.support.storage.blobs import FORMS, MADE, content, form, overwrite

WHOLE = SEGMENT + TAG  # a segment on disk


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileBlobStore]:
    store = FileBlobStore(tmp_path / "blobs", form("encrypted", tmp_path))
    yield store
    store.close()


def put(store: FileBlobStore, data: bytes) -> str:
    draft = store.draft()
    draft.write(data)
    (blob,) = store.seal([draft])
    return str(blob)


def octets(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def given_out(store: FileBlobStore, blob: str) -> tuple[bytes, str]:
    """Octets that a reader gets before an error, and the error."""
    got = b""
    try:
        with store.open(blob) as file:
            while piece := file.read(1000):
                got += piece
    except BlobDamaged as error:
        return got, str(error)
    return got, ""


@pytest.mark.parametrize(
    "size", [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT, 5 * SEGMENT, 700_000]
)
@pytest.mark.parametrize("kind", FORMS)
def test_content_reads_back_in_any_pieces(tmp_path: Path, kind: str, size: int) -> None:
    store = FileBlobStore(tmp_path / "blobs", form(kind, tmp_path))
    data = octets(size)
    blob = put(store, data)
    assert content(store, blob) == data
    with store.open(blob) as file:
        assert b"".join(iter(lambda: file.read(999), b"")) == data
    store.close()


def test_each_blob_has_a_key_of_its_own(store: FileBlobStore) -> None:
    first, second = (store.path(put(store, b"the same")).read_bytes() for _ in range(2))
    assert len(first) == len(second) == HEADER + len(b"the same") + TAG
    assert first[HEADER:] != second[HEADER:]
    assert b"the same" not in first + second


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("size", [0, 300, SEGMENT, SEGMENT + 300])
def test_no_octet_can_be_altered(tmp_path: Path, kind: str, size: int) -> None:
    store = FileBlobStore(tmp_path / "blobs", form(kind, tmp_path))
    blob = put(store, octets(size))
    path, good = store.path(blob), store.path(blob).read_bytes()
    chance = random.Random(size)
    places = {*range(HEADER), len(good) - 1, *(chance.randrange(len(good)) for _ in range(60))}
    for place in sorted(places):
        bad = bytearray(good)
        bad[place] ^= 1 << chance.randrange(8)
        overwrite(path, bytes(bad))
        try:
            got = content(store, blob)
        except (BlobDamaged, KeyMissing):
            continue
        # Without encryption, the header's unused fields have no effect: the content is right.
        assert not kind.startswith("encrypted"), place
        assert got == octets(size)
    store.close()


def swap(data: bytes) -> bytes:
    first, second = data[HEADER : HEADER + WHOLE], data[HEADER + WHOLE : HEADER + 2 * WHOLE]
    return data[:HEADER] + second + first + data[HEADER + 2 * WHOLE :]


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda data: data[: HEADER + WHOLE], "octets"),
        (lambda data: data[:-1], "octets"),
        (lambda data: data[:HEADER], "octets"),
        (lambda data: data[: HEADER - 1], "cut short"),
        (lambda data: data + b"x", "octets"),
        (lambda data: data[:HEADER] + data[HEADER + WHOLE :], "octets"),
        (swap, "segment 0"),
        (lambda data: data[:-10] + bytes(10), "segment 3"),
        (lambda data: b"x" + data[1:], "content was altered"),
    ],
    ids=["last gone", "cut", "all gone", "header cut", "more", "less", "swapped", "end", "magic"],
)
def test_what_is_cut_moved_or_added_is_known_first(
    store: FileBlobStore, harm: Callable[[bytes], bytes], says: str
) -> None:
    data = octets(3 * SEGMENT + 100)
    blob = put(store, data)
    overwrite(store.path(blob), harm(store.path(blob).read_bytes()))
    got, error = given_out(store, blob)
    assert says in error
    assert blob in error
    assert data.startswith(got)


def test_a_file_of_another_blob_is_known_at_once(store: FileBlobStore) -> None:
    one, other = put(store, octets(2 * SEGMENT)), put(store, octets(2 * SEGMENT)[::-1])
    os.replace(store.path(other), store.path(one))  # noqa: PTH105 - as an intruder would
    with pytest.raises(BlobDamaged, match="belongs to another blob"):
        store.open(one)


def test_an_encrypted_blob_cannot_be_passed_off_as_a_plain_one(store: FileBlobStore) -> None:
    blob = put(store, b"true")
    overwrite(store.path(blob), b"fake")
    with pytest.raises(BlobDamaged, match="content was altered"):
        store.open(blob)


def test_what_was_stored_before_encryption_is_read_and_held_to_its_name(
    tmp_path: Path, store: FileBlobStore
) -> None:
    data = octets(2 * SEGMENT)
    plain = FileBlobStore(tmp_path / "blobs")
    blob = put(plain, data)
    overwrite(store.path(blob), data)  # as stored by earlier versions
    assert content(store, blob) == data
    assert put(plain, data) == blob
    assert store.path(blob).read_bytes() == data  # referenced, not written again
    assert content(plain, blob) == data
    plain.close()


@pytest.mark.parametrize("kind", FORMS)
def test_content_that_looks_like_our_own_header_is_content(tmp_path: Path, kind: str) -> None:
    store = FileBlobStore(tmp_path / "blobs", form(kind, tmp_path))
    data = b"\0MSSBLOB" + octets(500)
    assert content(store, put(store, data)) == data
    store.close()


def test_without_its_key_nothing_is_read(tmp_path: Path, store: FileBlobStore) -> None:
    blob = put(store, b"secret")
    plain = FileBlobStore(tmp_path / "blobs")
    with pytest.raises(KeyMissing, match="there is no key file"):
        plain.open(blob)
    other = FileBlobStore(tmp_path / "blobs", form("encrypted", tmp_path / "blobs"))
    with pytest.raises(KeyMissing, match="restore it from a backup"):
        other.open(blob)
    assert issubclass(KeyMissing, StoreUnavailable)
    plain.close()
    other.close()


def test_a_running_store_takes_up_a_rotation_for_writing_and_for_reading(
    tmp_path: Path, store: FileBlobStore
) -> None:
    before = put(store, b"before")
    reader = FileBlobStore(tmp_path / "blobs", form("encrypted", tmp_path))
    key = rotate(tmp_path / "keys", MADE)
    after = put(store, b"after")
    header = store.header(after)
    assert header is not None
    assert header.key_id == key.id
    assert [content(reader, blob) for blob in (before, after)] == [b"before", b"after"]
    reader.close()


def test_encryption_off_writes_plain_and_reads_both(tmp_path: Path, store: FileBlobStore) -> None:
    secret = put(store, b"secret")
    off = FileBlobStore(tmp_path / "blobs", BlobFormat(store.blob_format.keys, encrypt=False))
    assert b"open" in off.path(put(off, b"open")).read_bytes()
    assert content(off, secret) == b"secret"
    off.close()
