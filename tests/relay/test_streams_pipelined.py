"""Commands that are here already: taken without waiting, or looked at."""

from relay.streams import InboundBuffer


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
    assert inbound.ahead(5) == []
    inbound.feed(b"one\r\ntwo\nthree\r\nfou")
    assert inbound.ahead(5) == [b"one\r", b"two", b"three\r"]
    assert inbound.ahead(2) == [b"one\r", b"two"]
    assert inbound.pipelined() == b"one"
