"""The content of a blob in memory: had in one step, it is the same as read piece by piece."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.errors import BlobDamaged, KeyMissing, MailstoreError
from mailstore.sealed.blob_format import SEGMENT, BlobFormat, SegmentSealer
from mailstore.sealed.blob_reader import content_of, open_content
from mailstore.sealed.keyring import Keyring
from tests.support.storage.blobs import keyring

NAME, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    return keyring(tmp_path_factory.mktemp("keys"))


def sealed(content: bytes, keys: Keyring) -> bytes:
    sealer: SegmentSealer = BlobFormat(keys).sealer()
    segments = sealer.segments(memoryview(content), last=True)
    return b"".join([sealer.header(NAME, len(content)), *segments])


def by_pieces(stored: bytes, name: str, keys: Keyring) -> bytes | str:
    try:
        with open_content(io.BytesIO(stored), name, keys) as file:
            return file.read()
    except (BlobDamaged, KeyMissing) as error:
        return type(error).__name__


def in_one_step(stored: bytes, name: str, keys: Keyring) -> bytes | str:
    try:
        return content_of(stored, name, keys)
    except (BlobDamaged, KeyMissing) as error:
        return type(error).__name__


@given(
    st.one_of(st.binary(max_size=300), st.just(b"x" * SEGMENT), st.just(b"x" * (SEGMENT + 1))),
    st.sampled_from((NAME, OTHER)),
    st.none() | st.tuples(st.integers(0, 99), st.integers(0, 255)),
    st.sampled_from((0, 0, 0, 1, 17)),
)
def test_both_ways_give_the_same_content_and_refuse_the_same(
    keys: Keyring, content: bytes, name: str, altered: tuple[int, int] | None, cut: int
) -> None:
    stored = bytearray(sealed(content, keys))
    if altered is not None:
        stored[altered[0] % len(stored)] = altered[1]
    octets = bytes(stored[: len(stored) - cut])
    found = in_one_step(octets, name, keys)
    assert found == by_pieces(octets, name, keys)
    if altered is None and cut == 0 and name == NAME:
        assert found == content


def test_an_empty_content_is_no_error(keys: Keyring, tmp_path: Path) -> None:
    assert content_of(sealed(b"", keys), NAME, keys) == b""
    with pytest.raises(MailstoreError):
        content_of(sealed(b"", keys), NAME, keyring(tmp_path))
