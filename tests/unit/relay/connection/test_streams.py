"""The byte streams of a connection: command lines, flow control and the end, over real sockets.

The result for a line is the line, or the refusal that the command loop makes of it.
"""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given

from relay.connection.streams import HIGH_WATER, MAX_COMMAND_LINE, InboundBuffer, ReplyWriter
from relay.smtp.errors import SyntaxRefused
from tests.support.storage.cutting import cut, made_of, octet_by_octet, sizes

PATIENCE = 60.0
ONE_READ = 256 * 1024  # octets that asyncio takes from a socket at a time

TOO_LONG = b"500 5.5.2 Command line too long"
REFUSED = b"500 5.5.2 Commands end with CRLF"
STRAY = b"500 5.5.2 Bare CR or NUL in a command"


class Link(asyncio.Protocol):
    """A protocol that uses the streams like the session."""

    def __init__(self) -> None:
        self.inbound = InboundBuffer()
        self.reading_paused = asyncio.Event()
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.inbound.attach(transport)
        self.outbound = ReplyWriter(transport)

    def data_received(self, data: bytes) -> None:
        self.inbound.feed(data)
        if not self.transport.is_reading():
            self.reading_paused.set()

    def eof_received(self) -> bool:
        self.inbound.feed_eof()
        return True

    def pause_writing(self) -> None:
        self.outbound.pause()

    def resume_writing(self) -> None:
        self.outbound.resume()

    def connection_lost(self, _error: Exception | None) -> None:
        self.lost.set()


@dataclass
class Connection:
    """Our end and the peer's of a connection."""

    link: Link
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@asynccontextmanager
async def connected() -> AsyncIterator[Connection]:
    ours, theirs = socket.socketpair()
    _, link = await asyncio.get_running_loop().connect_accepted_socket(Link, ours)
    reader, writer = await asyncio.open_connection(sock=theirs)
    try:
        async with asyncio.timeout(PATIENCE):
            yield Connection(link, reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        if not link.lost.is_set():
            link.transport.abort()
            await link.lost.wait()


@dataclass
class Recorder(asyncio.Transport):
    """A transport that only records its calls."""

    asked: list[str] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def pause_reading(self) -> None:
        self.asked.append("pause")

    def resume_reading(self) -> None:
        self.asked.append("resume")

    def close(self) -> None:
        self.asked.append("close")
        self.closed.set()


# Command lines.


async def test_a_line_comes_without_its_end_and_the_next_one_stays() -> None:
    inbound = InboundBuffer()
    inbound.feed(b"EHLO x\r\nMAIL FROM:<>\r\nRC")
    assert await inbound.readline() == b"EHLO x"
    assert await inbound.readline() == b"MAIL FROM:<>"
    waiting = asyncio.create_task(inbound.readline())
    for piece in (b"PT TO", b":<a@b.fr>\r", b"\n"):
        assert not waiting.done()
        inbound.feed(piece)
        await asyncio.sleep(0)
    assert await waiting == b"RCPT TO:<a@b.fr>"


@pytest.mark.parametrize("line", [b"NOOP\n", b"\n", b"NOOP\r\r\n\n", b"DATA\n.\n"])
async def test_a_line_that_ends_in_a_bare_lf_is_refused_and_gone(line: bytes) -> None:
    # CVE-2023-51764: how smuggled commands begin
    inbound = InboundBuffer()
    inbound.feed(line + b"QUIT\r\n")
    said = [await one(inbound) for _ in range(line.count(b"\n") + 1)]
    assert said[-1] == b"QUIT"
    assert REFUSED in said


@pytest.mark.parametrize("length", [MAX_COMMAND_LINE - 1, MAX_COMMAND_LINE])
async def test_the_longest_line(length: int) -> None:
    line = b"x" * (length - 2) + b"\r\n"
    for pieces in ([line], octet_by_octet(line), cut(line, [length - 1])):
        assert await said_of(pieces) == [line[:-2]]


@pytest.mark.parametrize("length", [MAX_COMMAND_LINE + 1, MAX_COMMAND_LINE + 2, 3 * 4096 + 1])
async def test_a_longer_line_is_dropped_up_to_its_end(length: int) -> None:
    # The reply must be "too long" and not "bare LF", wherever the line was cut.
    wire = b"x" * (length - 2) + b"\r\nQUIT\r\n"
    near = (MAX_COMMAND_LINE - 1, MAX_COMMAND_LINE, MAX_COMMAND_LINE + 1, length - 1, length)
    for pieces in ([wire], octet_by_octet(wire), *(cut(wire, [size]) for size in near)):
        assert await said_of(pieces) == [TOO_LONG, b"QUIT"]


async def test_a_line_without_end_takes_no_memory() -> None:
    inbound, transport = InboundBuffer(), Recorder()
    inbound.attach(transport)
    waiting = asyncio.create_task(inbound.readline())
    for _ in range(100):
        inbound.feed(b"x" * 100_000)
        await asyncio.sleep(0)
        assert inbound.empty
    assert transport.asked == []
    inbound.feed(b"\r\n")
    with pytest.raises(SyntaxRefused, match="too long"):
        await waiting


@pytest.mark.parametrize(
    "line", [b"NO\rOP\r\n", b"NOOP\r\r\n", b"\rNOOP\r\n", b"NO\0OP\r\n", b"\0\r\n"]
)
async def test_a_bare_cr_or_a_nul_is_refused(line: bytes) -> None:
    # RFC 5321 §2.3.8: octets that only one of two servers takes for a line's end
    for pieces in ([line], octet_by_octet(line)):
        assert await said_of([*pieces, b"QUIT\r\n"]) == [STRAY, b"QUIT"]


async def one(inbound: InboundBuffer) -> bytes:
    """The next line, or the refusal instead."""
    try:
        return line if (line := inbound.pipelined()) is not None else await inbound.readline()
    except SyntaxRefused as refused:
        return str(refused.reply).encode()


async def read(inbound: InboundBuffer, limit: int = HIGH_WATER) -> bytes:
    """The octets there, once there are any."""
    await inbound.wait(PATIENCE)
    return inbound.take(limit)


async def said_of(pieces: Iterable[bytes]) -> list[bytes]:
    """The results for a wire in these pieces, up to its end."""
    inbound, transport = InboundBuffer(), Recorder()
    inbound.attach(transport)
    said: list[bytes] = []

    async def listen() -> None:
        while True:
            said.append(await one(inbound))

    listening = asyncio.create_task(listen())
    for piece in pieces:
        inbound.feed(piece)
        await asyncio.sleep(0)
    inbound.feed_eof()
    await asyncio.wait_for(transport.closed.wait(), PATIENCE)
    listening.cancel()
    return said


COMMANDS = made_of(
    *(b"NOOP\r\n", b"x", b"\r\n", b"\n", b"\r", b"\0", b"x" * 4090, b"x" * 4094, b"x" * 4096),
    max_size=10,
)


def expected_of(line: bytes) -> bytes:
    """The expected result for a line."""
    if len(line) > MAX_COMMAND_LINE:
        return TOO_LONG
    if not line.endswith(b"\r\n"):
        return REFUSED
    return STRAY if b"\r" in line[:-2] or b"\0" in line else line[:-2]


@pytest.mark.fuzz
@given(COMMANDS, sizes(5000))
@example(b"x" * 4096 + b"\r\nNOOP\r\n", [4097])
def test_lines_do_not_depend_on_the_cutting(wire: bytes, lengths: list[int]) -> None:
    expected = [expected_of(line) for line in re.findall(rb"[^\n]*\n", wire)]
    assert asyncio.run(said_of([wire])) == expected
    assert asyncio.run(said_of(cut(wire, lengths))) == expected


# Octets of messages.


async def test_read_gives_what_is_there_and_no_more_than_asked() -> None:
    inbound = InboundBuffer()
    inbound.feed(b"abc")
    inbound.feed(b"def")
    assert await read(inbound, 2) == b"ab"
    assert await read(inbound) == b"cdef"
    waiting = asyncio.create_task(read(inbound))
    await asyncio.sleep(0)
    assert not waiting.done()
    inbound.feed(b"")  # an empty piece does not count
    await asyncio.sleep(0)
    assert not waiting.done()
    inbound.feed(b"g")
    assert await waiting == b"g"


async def test_octets_put_back_come_first() -> None:
    inbound = InboundBuffer()
    inbound.feed(b"QUIT\r\n")
    inbound.unread(b"NOOP\r\n")
    inbound.unread(b"")
    assert await inbound.readline() == b"NOOP"
    assert await inbound.readline() == b"QUIT"


async def test_what_was_cleared_is_never_read() -> None:
    # RFC 3207 §6, CVE-2021-38542: commands before TLS must not be answered after it
    inbound = InboundBuffer()
    inbound.feed(b"MAIL FROM:<injected@b.fr>\r\nRCPT")
    inbound.clear()
    inbound.feed(b"EHLO x\r\n")
    assert await inbound.readline() == b"EHLO x"


# Flow control and the end.


async def test_reading_pauses_above_and_resumes_well_below_high_water() -> None:
    inbound, transport = InboundBuffer(), Recorder()
    inbound.attach(transport)
    inbound.feed(b"x" * HIGH_WATER)
    assert transport.asked == []
    inbound.feed(b"x")
    inbound.feed(b"x")
    assert transport.asked == ["pause"]
    await read(inbound, HIGH_WATER // 2)
    await read(inbound, 2)
    assert transport.asked == ["pause"]
    await read(inbound, 1)
    assert transport.asked == ["pause", "resume"]
    await read(inbound)
    assert transport.asked == ["pause", "resume"]


async def test_a_new_transport_begins_unpaused() -> None:
    inbound, plain, secured = InboundBuffer(), Recorder(), Recorder()
    inbound.attach(plain)
    inbound.feed(b"x" * (HIGH_WATER + 1))
    inbound.clear()
    inbound.attach(secured)
    inbound.feed(b"x" * (HIGH_WATER + 1))
    await read(inbound)
    await read(inbound)
    assert (plain.asked, secured.asked) == (["pause"], ["pause", "resume"])


async def test_a_peer_that_sends_fast_waits_for_us_and_nothing_is_lost() -> None:
    sent = bytes(range(256)) * (8 * 1024 * 1024 // 256)
    async with connected() as connection:
        connection.writer.write(sent)
        await connection.link.reading_paused.wait()
        first = await read(connection.link.inbound, len(sent))
        assert HIGH_WATER < len(first) <= HIGH_WATER + ONE_READ
        received = bytearray(first)
        while len(received) < len(sent):
            received += await read(connection.link.inbound)
        assert received == sent


async def test_the_end_closes_the_connection_once_everything_is_read() -> None:
    async with connected() as connection:
        connection.writer.write(b"NOOP\r\nQUI")
        connection.writer.write_eof()
        assert await connection.link.inbound.readline() == b"NOOP"
        assert not connection.link.transport.is_closing()
        waiting = asyncio.create_task(connection.link.inbound.readline())
        await connection.link.lost.wait()
        assert not waiting.done()  # the session ends with the connection, not with a line
        waiting.cancel()
        assert await connection.reader.read() == b""


async def test_the_end_wakes_a_reader_that_waits_already() -> None:
    async with connected() as connection:
        waiting = asyncio.create_task(read(connection.link.inbound))
        await asyncio.sleep(0)
        connection.writer.write_eof()
        await connection.link.lost.wait()
        waiting.cancel()


async def test_a_cancelled_reader_loses_nothing() -> None:
    inbound = InboundBuffer()
    inbound.feed(b"NO")
    waiting = asyncio.create_task(inbound.readline())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    inbound.feed(b"OP\r\n")
    assert await inbound.readline() == b"NOOP"


async def test_replies_wait_for_a_peer_that_does_not_read_and_all_arrive() -> None:
    sent = b"250 2.0.0 OK\r\n" * 400_000
    async with connected() as connection:
        outbound = connection.link.outbound
        await outbound.drain()  # nothing to wait for
        outbound.write(sent)
        waiting = asyncio.create_task(outbound.drain())
        await asyncio.sleep(0)
        assert not waiting.done()
        received = await connection.reader.readexactly(len(sent))
        await waiting
        assert received == sent


async def test_what_is_queued_leaves_before_the_connection_closes() -> None:
    sent = b"421 4.3.2 Service is stopping\r\n" * 100_000
    async with connected() as connection:
        connection.link.outbound.write(sent)
        connection.link.outbound.close()
        assert connection.link.transport.is_closing()
        assert await connection.reader.read() == sent


async def test_replies_leave_together() -> None:
    # RFC 2920 §3.2
    async with connected() as connection:
        for _ in range(3):
            connection.link.outbound.write(b"250 OK\r\n")
        assert connection.link.transport.get_write_buffer_size() == 0
        assert not connection.link.outbound.blocked
        connection.link.outbound.flush()
        assert await connection.reader.readexactly(24) == b"250 OK\r\n" * 3
        connection.link.outbound.write(b"x" * 20_000)
        assert connection.link.outbound.blocked


async def test_what_the_peer_waits_for_leaves_before_we_wait() -> None:
    left: list[str] = []
    inbound = InboundBuffer(lambda: left.append("flushed"))
    inbound.feed(b"NOOP\r\nNO")
    assert await inbound.readline() == b"NOOP"
    assert left == []
    waiting = asyncio.create_task(inbound.readline())
    await asyncio.sleep(0)
    assert left == ["flushed"]
    inbound.feed(b"OP\r\n")
    assert await waiting == b"NOOP"


async def test_replies_go_to_the_transport_of_the_moment() -> None:
    # STARTTLS exchanges it.
    async with connected() as before, connected() as after:
        outbound = before.link.outbound
        outbound.transport = after.link.transport
        outbound.write(b"250 OK\r\n")
        outbound.flush()
        assert await after.reader.readline() == b"250 OK\r\n"
