"""An SMTP client at the level of TCP segments and TLS records, so that it can cut and break them.

It keeps TLS in memory (`ssl.MemoryBIO`) beside a bare socket: what a well-behaved library never
sends, half a record, a record with one octet changed, a reset in the middle of a handshake, is one
call here.  That the server has closed or reset the connection is no error but `ended`.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from tests.support.cutting import cut

_READ = 65536


@dataclass(frozen=True, slots=True)
class Damage:
    """One octet of a flight or record changed (`at` counts round), or all after it left out."""

    at: int
    change: int = 0  # exclusive or; 0: cut off there

    def apply(self, octets: bytes) -> bytes:
        """The damaged octets."""
        at = self.at % len(octets)
        if not self.change:
            return octets[:at]
        return octets[:at] + bytes([octets[at] ^ self.change]) + octets[at + 1 :]


class Wire:
    """One connection to a server on loopback."""

    def __init__(self, connection: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = connection
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ended = False  # the server sends no more

    @classmethod
    async def connect(cls, host: str, port: int) -> Self:
        """Open a connection whose segments leave as they are written."""
        connection = socket.socket()
        connection.setblocking(False)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(connection, (host, port))
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    async def send(self, octets: bytes, sizes: Sequence[int] = ()) -> None:
        """Send, under TLS if it is on, in segments of these sizes and the rest in one."""
        await self.send_raw(self.record(octets), sizes)

    async def send_raw(self, octets: bytes, sizes: Sequence[int] = ()) -> None:
        """Send octets as they are."""
        for piece in filter(None, cut(octets, sizes)):
            # A server that has closed answers with RST; what it said before is read all the same.
            with suppress(OSError):
                await self._loop.sock_sendall(self._socket, piece)
            await asyncio.sleep(0)  # the server in this loop reads it by itself

    def record(self, octets: bytes) -> bytes:
        """What TLS makes of octets (one record up to 16 kB); themselves without TLS."""
        if self._tls is None or not octets:
            return octets
        view = memoryview(octets)
        while view:
            view = view[self._tls.write(view) :]
        return self._outgoing.read()

    async def hear(self) -> bytes:
        """The next octets from the server, at least one unless it has `ended`."""
        while not self.ended:
            if self._tls is None:
                return await self._receive()
            try:
                heard = self._tls.read(_READ)
            except ssl.SSLWantReadError:
                if arrived := await self._receive():
                    self._incoming.write(arrived)
            except ssl.SSLError:
                self.ended = True  # an alert: the server will say no more
            else:
                self.ended = not heard
                return heard
        return b""

    async def start_tls(self, context: ssl.SSLContext, sizes: Sequence[int] = ()) -> bool:
        """Shake hands; the flights leave in segments of these sizes.  Tells whether it worked.

        Under TLS 1.3 a server may refuse the client's certificate afterwards.
        """
        self._tls = context.wrap_bio(self._incoming, self._outgoing)
        while not self.ended:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.send_raw(self._outgoing.read(), sizes)
                self._incoming.write(await self._receive())
            except ssl.SSLError:
                break
            else:
                await self.send_raw(self._outgoing.read(), sizes)
                return True
        await self.send_raw(self._outgoing.read())  # an alert of ours
        return False

    async def break_handshake(
        self, context: ssl.SSLContext, flight: int, damage: Damage, sizes: Sequence[int] = ()
    ) -> None:
        """Shake hands up to our first (0) or second (1) flight, and send that damaged."""
        tls = context.wrap_bio(self._incoming, self._outgoing)
        with suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        hello = self._outgoing.read()
        if not flight:
            await self.send_raw(damage.apply(hello), sizes)
            return
        await self.send_raw(hello, sizes)
        while not self.ended:
            self._incoming.write(await self._receive())
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                if not self._outgoing.pending:
                    continue
            except ssl.SSLError:
                return
            await self.send_raw(damage.apply(self._outgoing.read()), sizes)
            return

    async def say_goodbye(self) -> None:
        """Send TLS's close_notify."""
        if self._tls is not None:
            with suppress(ssl.SSLError):  # the server's own has not come yet, or never will
                self._tls.unwrap()
            await self.send_raw(self._outgoing.read())

    def finish(self) -> None:
        """Send FIN: no more octets from here."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    async def drain(self) -> None:
        """Read on, whatever it is, until the server has ended."""
        while not self.ended:
            await self._receive()

    def reset(self) -> None:
        """Close with RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close."""
        self._socket.close()

    async def _receive(self) -> bytes:
        arrived = b""
        with suppress(OSError):
            arrived = await self._loop.sock_recv(self._socket, _READ)
        self.ended = self.ended or not arrived
        return arrived
