"""Promises of each blob store, files and bucket alike (docs/durability.md)."""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mailstore.blobs.gc import rewrite_blobs
from mailstore.errors import BlobDamaged, KeyMissing, NotFound, StoreUnavailable
from mailstore.sealed.blob_format import SEGMENT, BlobFormat
from mailstore.sealed.draft import MEMORY_LIMIT, Draft
from mailstore.sealed.keyring import rotate
from tests.support.storage.blobs import FORMS, MADE, content
from tests.support.storage.stores import Kept, draft, kept_in, now

DAY = timedelta(days=1)
KINDS = ("files", "bucket")
# A form's effects are the same in both; a server costs more time.
STORES = [*(("files", name) for name in FORMS), ("bucket", FORMS[0]), ("bucket", FORMS[-1])]


@pytest.fixture(params=STORES, ids="-".join)
def kept(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Kept]:
    kind, name = request.param
    yield from kept_in(kind, request, tmp_path, name)


@pytest.fixture(params=KINDS)
def encrypted(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Kept]:
    yield from kept_in(request.param, request, tmp_path, "encrypted")


@pytest.fixture(params=KINDS)
def plain(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Kept]:
    yield from kept_in(request.param, request, tmp_path, "plain")


def name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(kept: Kept, data: bytes) -> str:
    (blob,) = kept.store.seal([draft(kept.store, data)])
    assert blob == name(data)
    return str(blob)


def test_a_group_is_stored_under_its_hashes_in_order(kept: Kept) -> None:
    chance = random.Random(0)
    bodies = [chance.randbytes(i * 30_000) for i in range(20)]
    assert kept.store.seal([draft(kept.store, body) for body in bodies]) == list(map(name, bodies))
    for body in bodies:
        assert content(kept.store, name(body)) == body
        assert kept.store.exists(name(body))
    assert list(kept.store.names()) == sorted(map(name, bodies))
    assert kept.leftovers() == []


def test_an_empty_group(kept: Kept) -> None:
    assert kept.store.seal([]) == []
    assert list(kept.store.names()) == []


def test_equal_bodies_have_unlike_names_if_they_are_encrypted(encrypted: Kept) -> None:
    def made() -> Draft:
        new = encrypted.store.draft()
        new.write(b"same")
        return new

    names = [str(one) for one in encrypted.store.seal([made(), made()])]
    assert len({*names, name(b"same")}) == 3
    assert [content(encrypted.store, one) for one in names] == [b"same"] * 2
    assert encrypted.count() == 2


def test_what_is_encrypted_no_more_keeps_its_name_and_is_still_verified(encrypted: Kept) -> None:
    new = encrypted.store.draft()
    new.write(b"whole")
    blob = str(encrypted.store.seal([new])[0])
    opened = encrypted.again(replace(encrypted.store.blob_format, encrypt=False))
    assert rewrite_blobs(opened, lambda _: None).blobs == 1
    header = opened.header(blob)
    assert header is not None
    assert header.key_id is None
    assert content(opened, blob) == b"whole"
    good = encrypted.raw(blob)
    for place in (len(good) - 1, len(good) - len(b"whole") - 1):  # of the content, of the tag
        bad = bytearray(good)
        bad[place] ^= 1
        encrypted.replace(blob, bytes(bad))
        with pytest.raises(BlobDamaged):
            content(opened, blob)
    opened.close()


def test_equal_bodies_are_stored_once(plain: Kept) -> None:
    large = b"y" * (MEMORY_LIMIT + 1)
    first = put(plain, b"same")
    names = plain.store.seal(
        [draft(plain.store, body) for body in (b"same", b"same", large, large, large)]
    )
    assert names == [first, first, *[name(large)] * 3]
    assert put(plain, large) == name(large)
    assert plain.count() == 2
    assert plain.leftovers() == []


def test_an_equal_body_that_comes_much_later_is_stored_once(plain: Kept) -> None:
    blob = put(plain, b"same")
    plain.age(blob, 2 * DAY)
    put(plain, b"same")
    assert plain.count() == 1
    assert content(plain.store, blob) == b"same"
    assert not plain.store.unused_since(blob, now() - DAY)


def test_a_draft_that_was_discarded_fails_alone(kept: Kept) -> None:
    drafts = [draft(kept.store, body) for body in (b"one", b"two", b"one", b"three")]
    drafts[0].discard()
    drafts[1].discard()
    lost, gone, *others = kept.store.seal(drafts)
    assert isinstance(lost, StoreUnavailable)
    assert "was discarded" in str(lost)
    assert isinstance(gone, StoreUnavailable)
    assert others == [name(b"one"), name(b"three")]
    assert not kept.store.exists(name(b"two"))
    assert all(one.ended for one in drafts)


def test_a_cut_blob_is_replaced_when_its_body_comes_again(plain: Kept) -> None:
    blob = put(plain, b"whole")
    plain.replace(blob, plain.raw(blob)[:3])
    assert put(plain, b"whole") == blob
    assert content(plain.store, blob) == b"whole"
    assert plain.count() == 1


def test_what_is_not_there(kept: Kept) -> None:
    nobody = name(b"nobody")
    assert not kept.store.exists(nobody)
    assert not kept.store.unused_since(nobody, now())
    assert kept.store.free(nobody, now()) is None
    for look in (kept.store.open, kept.store.header):
        with pytest.raises(NotFound, match=nobody):
            look(nobody)
    for wrong in ("../../etc/passwd", "A" * 64, ""):
        with pytest.raises(NotFound, match="is not the name of a blob"):
            kept.store.open(wrong)


def test_reading_in_small_pieces(kept: Kept) -> None:
    body = random.Random(1).randbytes(2 * SEGMENT + 5)
    with kept.store.open(put(kept, body)) as file:
        pieces = [file.read(7_919) for _ in range(len(body) // 7_919 + 2)]
    assert b"".join(pieces) == body


@pytest.mark.parametrize("harm", ["cut", "altered", "longer", "swapped", "empty"])
def test_nothing_of_what_was_harmed_is_given_out(kept: Kept, harm: str) -> None:
    body = random.Random(2).randbytes(SEGMENT // 2)
    blob, other = put(kept, body), put(kept, body[::-1])
    raw = kept.raw(blob)
    harmed = {
        "cut": raw[: len(raw) // 2],
        "altered": raw[:-20] + bytes([raw[-20] ^ 1]) + raw[-19:],
        "longer": raw + b"x",
        "swapped": kept.raw(other),
        "empty": b"",
    }
    kept.replace(blob, harmed[harm])
    with pytest.raises(BlobDamaged, match=blob):
        content(kept.store, blob)


def test_without_its_key_nothing_is_read(encrypted: Kept) -> None:
    blob = put(encrypted, b"secret")
    assert b"secret" not in encrypted.raw(blob)
    stranger = encrypted.again(BlobFormat())
    with pytest.raises(KeyMissing, match=blob):
        stranger.open(blob)
    stranger.close()


def test_keys_used_are_those_of_the_blobs(encrypted: Kept, tmp_path: Path) -> None:
    assert encrypted.store.keys_used(16) == set()
    keys = encrypted.store.blob_format.keys
    assert keys is not None
    old = keys.newest.id
    put(encrypted, b"old")
    assert encrypted.store.keys_used(16) == {old}
    new = rotate(tmp_path / "keys", MADE).id
    for i in range(60):
        put(encrypted, f"new {i}".encode())
    assert new in encrypted.store.keys_used(16)
    header = encrypted.store.header(name(b"new 7"))
    assert header is not None
    assert header.key_id == new


def test_replacing_writes_it_anew(encrypted: Kept, tmp_path: Path) -> None:
    blob = put(encrypted, b"body")
    key = rotate(tmp_path / "keys", MADE)
    assert encrypted.store.seal([draft(encrypted.store, b"body")], anew=True) == [blob]
    header = encrypted.store.header(blob)
    assert header is not None
    assert header.key_id == key.id
    assert encrypted.count() == 1
    assert content(encrypted.store, blob) == b"body"


def test_freeing_what_was_long_unused(kept: Kept) -> None:
    young, old = put(kept, b"young"), put(kept, b"old")
    octets = len(kept.raw(old))
    kept.age(old, 2 * DAY)
    before = now() - DAY
    assert kept.store.unused_since(old, before)
    assert not kept.store.unused_since(young, before)
    assert kept.store.free(young, before) is None
    assert kept.store.free(old, before) == octets
    assert kept.store.free(old, before) is None
    assert list(kept.store.names()) == [young]


def test_probing(kept: Kept) -> None:
    kept.store.probe()
    assert kept.leftovers() == []
    assert list(kept.store.names()) == []


def test_what_dead_processes_left_is_swept(kept: Kept) -> None:
    large = bytes(MEMORY_LIMIT + 1)
    abandoned = draft(kept.store, large)
    blob = put(kept, b"kept")
    kept.age(blob, 3 * DAY)
    assert kept.store.sweep(now() - DAY) == 0
    assert len(kept.leftovers()) == 1
    assert kept.store.sweep(now() + DAY) == 1
    assert kept.leftovers() == []
    abandoned.discard()
    assert content(kept.store, blob) == b"kept"
