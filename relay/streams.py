"""The byte streams of one SMTP connection: what arrived and is not read yet, and what goes out.

They stand where aiosmtpd expects a StreamReader and a StreamWriter, but survive STARTTLS by design:
the buffer can be emptied (nothing read before TLS may live on, RFC 3207 §6), octets after the end
of a message can be put back, and flow control goes through the transport of the moment.
"""

import asyncio
from typing import Final

from relay.errors import SyntaxRefused

MAX_COMMAND_LINE: Final = 4096  # octets; RFC 5321 §4.5.3.1.4 asks for 512 and more for extensions
HIGH_WATER: Final = 512 * 1024  # octets waiting before the peer is asked to pause


class InboundBuffer:
    """Octets received and not yet consumed by the session."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._eof = False
        self._paused = False
        self._transport: asyncio.Transport | None = None
        self._arrived: asyncio.Future[None] | None = None

    def attach(self, transport: asyncio.Transport) -> None:
        """Take the transport whose reading is paused and resumed; replaces an earlier one."""
        self._transport, self._paused = transport, False

    def feed(self, data: bytes) -> None:
        """Octets from the transport."""
        self._data += data
        if len(self._data) > HIGH_WATER and self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def feed_eof(self) -> None:
        """The peer will send no more."""
        self._eof = True
        self._wake()

    def clear(self) -> None:
        """Forget what has arrived."""
        self._data.clear()

    def unread(self, data: bytes) -> None:
        """Put octets back in front of everything else."""
        self._data[:0] = data

    async def readuntil(self) -> bytes:
        """One command line with its line end.

        Raises LimitOverrunError as StreamReader does for a line over MAX_COMMAND_LINE, and
        SyntaxRefused for one that ends in a bare LF, which is how smuggled commands begin.
        """
        searched = 0
        while (end := self._data.find(b"\n", searched)) < 0:
            searched = len(self._data)
            if searched > MAX_COMMAND_LINE:
                raise self._too_long(searched)
            await self._more()
        if end >= MAX_COMMAND_LINE:
            raise self._too_long(end)
        line = self._take(end + 1)
        if not line.endswith(b"\r\n"):
            raise SyntaxRefused("Commands end with CRLF", code=500, enhanced="5.5.2")
        return line

    async def read(self, limit: int = HIGH_WATER) -> bytes:
        """Whatever is there, at least one octet and at most `limit`."""
        while not self._data:
            await self._more()
        return self._take(limit)

    def _too_long(self, octets: int) -> asyncio.LimitOverrunError:
        # The session drops so many octets and reads on to the line's end, which must stay whole:
        # a CR taken away would leave a bare LF.
        ends_in_cr = self._data[octets - 1] == 0x0D
        return asyncio.LimitOverrunError("command line too long", octets - ends_in_cr)

    def _take(self, count: int) -> bytes:
        taken = bytes(self._data[:count])
        del self._data[:count]
        if self._paused and len(self._data) < HIGH_WATER // 2 and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return taken

    async def _more(self) -> None:
        if self._eof and self._transport is not None:
            # Nobody will speak again: hang up, and let connection_lost end the session.
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
    """Writes replies to the transport of the moment and waits while the peer does not read them."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self._writable = asyncio.Event()
        self._writable.set()

    def write(self, data: bytes) -> None:
        """Queue octets for sending."""
        self.transport.write(data)

    async def drain(self) -> None:
        """Wait until the peer has taken enough of what was written."""
        await self._writable.wait()

    def close(self) -> None:
        """Close the connection after what is queued has left."""
        self.transport.close()

    def pause(self) -> None:
        """The transport asks for a pause."""
        self._writable.clear()

    def resume(self) -> None:
        """The transport takes octets again."""
        self._writable.set()
