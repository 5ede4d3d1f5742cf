"""Quoted-printable in DSNs: our own code, because of a fault in the library."""

import binascii

from hypothesis import example, given
from hypothesis import strategies as st

from relay.dsn.parts import quoted_printable


@given(st.binary(max_size=300))
@example(b"ENVID \xa9fr\nENVID \xa9" + bytes(12) + b"\nfr\nENVID\nE\nEIENVID")
def test_quoted_printable_is_read_back_and_never_too_wide(text: bytes) -> None:
    # RFC 2045 §6.7 rule 5
    quoted = quoted_printable(text)
    assert quoted.isascii()
    assert all(len(line) <= 76 for line in quoted.split(b"\r\n"))
    assert not any(line.endswith((b" ", b"\t")) for line in quoted.split(b"\r\n"))
    assert binascii.a2b_qp(quoted) == text
