"""Octets in large pieces: taken as they came, and always in order."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.connection.streams import MAX_COMMAND_LINE, InboundBuffer
from relay.smtp.errors import SyntaxRefused


async def test_a_piece_that_came_alone_is_taken_as_it_came() -> None:
    inbound, piece = InboundBuffer(), b"x" * 200_000
    inbound.feed(piece)
    assert inbound.take() is piece
    assert inbound.empty
    inbound.feed(memoryview(bytearray(piece)))
    inbound.feed(b"y")
    assert inbound.take() == piece + b"y"


@pytest.mark.fuzz
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["feed", "take", "line", "ahead", "unread"]),
            st.sampled_from([0, 1, 5, 1023, 1024, 5000]),
        ),
        max_size=30,
    )
)
def test_octets_keep_their_order_whatever_is_asked_for(steps: list[tuple[str, int]]) -> None:
    inbound, waiting = InboundBuffer(), b""
    for number, (step, octets) in enumerate(steps):
        piece = bytes([number + 100]) * octets
        if step == "feed":
            inbound.feed(piece + b"\r\n")
            waiting += piece + b"\r\n"
        elif step == "unread":
            inbound.unread(piece)
            waiting = piece + waiting
        elif step == "ahead":
            assert inbound.peek_lines(2) == waiting[: 2 * MAX_COMMAND_LINE].split(b"\n", 2)[:-1]
        elif step == "line":
            line, end, rest = waiting.partition(b"\n")
            if not end:
                assert inbound.pipelined() is None
                continue
            with suppress(SyntaxRefused):
                assert inbound.pipelined() == line[:-1]
            waiting = rest
        else:
            assert inbound.take(octets) == waiting[:octets]
            waiting = waiting[octets:]
        assert inbound.empty == (not waiting)
    assert inbound.take() == waiting
