"""Commands that have arrived, taken or read without waiting; and waits that end."""

import asyncio

import pytest

from relay.connection.streams import InboundBuffer


async def test_a_line_that_is_here_needs_no_waiting() -> None:
    inbound = InboundBuffer()
    assert inbound.pipelined() is None
    inbound.feed(b"NOOP\r\nQU")
    assert inbound.pipelined() == b"NOOP"
    assert inbound.pipelined() is None
    inbound.feed(b"IT\r\n")
    assert inbound.pipelined() == b"QUIT"
    assert inbound.empty


async def test_lines_ahead_are_seen_and_not_taken() -> None:
    inbound = InboundBuffer()
    assert inbound.peek_lines(5) == []
    inbound.feed(b"one\r\ntwo\nthree\r\nfou")
    assert inbound.peek_lines(5) == [b"one\r", b"two", b"three\r"]
    assert inbound.peek_lines(2) == [b"one\r", b"two"]
    assert inbound.pipelined() == b"one"


async def test_patience_ends_a_wait_and_no_later_one() -> None:
    inbound = InboundBuffer()
    with pytest.raises(TimeoutError):
        await inbound.wait(0.001)
    with pytest.raises(TimeoutError):
        await inbound.wait(-1.0)  # no time was left
    asyncio.get_running_loop().call_later(0.01, inbound.feed, b"late")
    await inbound.wait(10)
    assert inbound.take(9) == b"late"
