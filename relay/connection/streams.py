"""The byte streams of one SMTP connection: received octets not read yet, and replies to send.

They stand in for the StreamReader and StreamWriter that aiosmtpd expects, but survive STARTTLS: the
buffer can be emptied (octets read before TLS must not survive it, RFC 3207 §6), octets after the
end of a message can be put back, and flow control uses the current transport.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from relay.smtp.errors import SyntaxRefused

MAX_COMMAND_LINE: Final = 4096  # octets; RFC 5321 §4.5.3.1.4 asks for 512 and more for extensions
_MAX_PENDING: Final = 16 * 1024  # octets of queued replies
_FEW: Final = 1024  # octets: below this, another copy is faster than avoiding it
HIGH_WATER: Final = 128 * 1024  # unread octets before the peer is paused


class InboundBuffer:
    """Octets received and not yet read by the session.

    `before_wait` is called before each wait for octets: replies that the peer waits for must be
    sent by then.
    """

    def __init__(self, before_wait: Callable[[], None] = lambda: None) -> None:
        self._before_wait = before_wait
        self._data = bytearray()
        # The last piece, while nothing else waits: message octets are mostly read as they arrived,
        # without another copy.
        self._piece = b""
        self._eof = False
        self._paused = False
        self._transport: asyncio.Transport | None = None
        self._arrived: asyncio.Future[None] | None = None

    def attach(self, transport: asyncio.Transport) -> None:
        """Use this transport from now on, to pause and resume its reading."""
        self._transport, self._paused = transport, False

    def detach(self) -> None:
        """Drop everything: the connection is over."""
        self.clear()
        self._transport, self._before_wait = None, lambda: None

    def feed(self, data: bytes | memoryview) -> None:
        """Add octets from the transport."""
        if len(data) >= _FEW and self.empty:
            self._piece = bytes(data)
        else:
            self._together().extend(data)
        if not self._paused and self._size > HIGH_WATER and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def feed_eof(self) -> None:
        """Note that the peer will send no more."""
        self._eof = True
        self._wake()

    def clear(self) -> None:
        """Drop all unread octets."""
        self._data.clear()
        self._piece = b""

    def unread(self, data: bytes) -> None:
        """Put octets back in front of all others."""
        self._together()[:0] = data

    async def readline(self) -> bytes:
        """One command line without its line end.

        Raises SyntaxRefused, after reading the whole line, if it is over MAX_COMMAND_LINE, ends in
        a bare LF (the beginning of smuggled commands), or has a bare CR or a NUL.
        """
        searched, too_long = 0, False
        while (end := self._together().find(b"\n", searched)) < 0:
            searched = len(self._data)
            if searched > MAX_COMMAND_LINE:
                too_long = True
                # A CR at the end may belong to the line's end, which must stay whole.
                self.take(searched - (self._data[-1] == 0x0D))
                searched = len(self._data)
            await self._more()
        return self._line(end + 1, too_long=too_long)

    def pipelined(self) -> bytes | None:
        """The next command line, None if it is not complete; raises as `readline`."""
        end = self._together().find(b"\n")
        return None if end < 0 else self._line(end + 1)

    def peek_lines(self, count: int) -> list[bytes]:
        """Up to `count` complete lines from the buffer, without LF; none is taken out."""
        return bytes(self._together()[: count * MAX_COMMAND_LINE]).split(b"\n", count)[:-1]

    def _line(self, octets: int, *, too_long: bool = False) -> bytes:
        line = self.take(octets)
        if too_long or octets > MAX_COMMAND_LINE:
            raise SyntaxRefused("Command line too long", code=500, enhanced="5.5.2")
        if not line.endswith(b"\r\n"):
            raise SyntaxRefused("Commands end with CRLF", code=500, enhanced="5.5.2")
        if b"\0" in line or line.count(b"\r") > 1:
            raise SyntaxRefused("Bare CR or NUL in a command", code=500, enhanced="5.5.2")
        return line[:-2]

    @property
    def empty(self) -> bool:
        """Whether all received octets have been read."""
        return not self._data and not self._piece

    async def wait(self, patience: float) -> None:
        """Wait for octets.  Raises TimeoutError after `patience` seconds."""
        timer = asyncio.get_running_loop().call_later(patience, self._give_up)
        try:
            while self.empty:
                await self._more()
        finally:
            timer.cancel()

    def _give_up(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_exception(TimeoutError())

    def take(self, count: int | None = None) -> bytes:
        """All unread octets, or at most `count` of them."""
        size = self._size
        if count is None or count > size:
            count = size
        if self._piece and count == size:
            taken, self._piece = self._piece, b""
        elif count < _FEW:
            taken = bytes(self._together()[:count])
        else:  # avoids a copy in between
            with memoryview(self._together()) as whole, whole[:count] as part:
                taken = bytes(part)
        del self._data[:count]
        if self._paused and size - count < HIGH_WATER // 2 and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return taken

    @property
    def _size(self) -> int:
        return len(self._data) + len(self._piece)  # at least one is empty

    def _together(self) -> bytearray:
        """All unread octets in one buffer, to be searched and cut."""
        if self._piece:
            self._data += self._piece
            self._piece = b""
        return self._data

    async def _more(self) -> None:
        self._before_wait()
        if self._eof and self._transport is not None:
            # No more octets will come: hang up, and let connection_lost end the session.
            self._transport.close()
        self._arrived = asyncio.get_running_loop().create_future()
        try:
            await self._arrived
        finally:
            self._arrived = None

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)


class ReplyWriter:
    """Writes replies to the current transport, and waits while the peer does not read them.

    Replies to pipelined commands gather until `flush` and are sent together (RFC 2920 §3.2).
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self._pending = bytearray()
        self._writable = asyncio.Event()
        self._writable.set()

    def write(self, data: bytes) -> None:
        """Queue octets for sending."""
        self._pending += data

    def flush(self) -> None:
        """Send the queued octets."""
        if self._pending:
            data = bytes(self._pending)
            self._pending.clear()
            self.transport.write(data)

    @property
    def blocked(self) -> bool:
        """Whether the peer has so many unread replies that the session must wait."""
        return len(self._pending) > _MAX_PENDING or not self._writable.is_set()

    async def drain(self) -> None:
        """Send the queued octets and wait until the peer has read enough."""
        self.flush()
        await self._writable.wait()

    def close(self) -> None:
        """Close the connection after sending the queued octets."""
        self.flush()
        self.transport.close()

    def pause(self) -> None:
        """Stop writing: the transport's buffer is full."""
        self._writable.clear()

    def resume(self) -> None:
        """Write again."""
        self._writable.set()
