"""Octets as they arrive from the network: in arbitrary pieces, and in dangerous combinations."""

from collections.abc import Iterator, Sequence

from hypothesis import strategies as st


def cut(data: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    """Pieces of `data` with these sizes; the rest is one piece."""
    start = 0
    for size in sizes:
        yield data[start : start + size]
        start += size
    yield data[start:]


def octet_by_octet(data: bytes) -> Iterator[bytes]:
    """Pieces of one octet."""
    return (data[i : i + 1] for i in range(len(data)))


def sizes(largest: int = 12) -> st.SearchStrategy[list[int]]:
    """Sizes of pieces for `cut`, empty ones included."""
    return st.lists(st.integers(0, largest), max_size=40)


def made_of(*fragments: bytes, max_size: int = 40) -> st.SearchStrategy[bytes]:
    """Octets joined from these fragments."""
    return st.lists(st.sampled_from(fragments), max_size=max_size).map(b"".join)
