"""Byte buffer: octets collected, however they are cut."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.sealed.byte_buffer import ByteBuffer

LARGE = 16 * 1024
PIECES = st.lists(st.sampled_from([0, 1, 7, 1000, LARGE - 1, LARGE, 3 * LARGE]), max_size=12)


@pytest.mark.fuzz
@given(PIECES, st.lists(st.floats(0, 1), max_size=3), st.sampled_from([bytes, bytearray]))
def test_what_is_taken_is_what_came(
    sizes: list[int], shares: list[float], kind: type[bytes | bytearray]
) -> None:
    gathered, expected = ByteBuffer(), b""
    for number, size in enumerate(sizes):
        piece = kind(bytes([number]) * size)
        gathered.add(piece)
        expected += piece
        if isinstance(piece, bytearray):
            piece[:] = b"?" * size  # the buffer is reused
    for share in shares:
        assert gathered.whole() == expected
        assert len(gathered) == len(expected)
        octets = int(share * len(expected))
        assert gathered.take(octets) == expected[:octets]
        expected = expected[octets:] + b"more"
        gathered.add(b"more")
    assert gathered.whole() == expected


def test_a_large_piece_is_not_copied() -> None:
    gathered, piece = ByteBuffer(), b"x" * LARGE
    gathered.add(piece)
    assert gathered.whole() is piece
    assert gathered.take(LARGE).obj is piece
    assert len(gathered) == 0


def test_single_octets_take_no_more_memory_than_large_pieces() -> None:
    # A peer that sends a TLS record per octet must not create an object for each.
    octets = [bytes([n % 256, n // 256 % 256]) for n in range(65_536)]
    tracemalloc.start()
    try:
        gathered = ByteBuffer()
        for some in octets:
            gathered.add(some)
        assert tracemalloc.get_traced_memory()[0] < 2 * len(gathered)
    finally:
        tracemalloc.stop()
