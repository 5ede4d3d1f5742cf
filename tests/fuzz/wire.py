"""SMTP client at the level of TCP segments and TLS records, to cut and break them.

It keeps TLS in memory (`ssl.MemoryBIO`) beside a bare socket. So half a record, a record with a
changed octet, or a reset during a handshake, which a library never sends, is a single call here. A
connection closed or reset by the server is no error: `ended` is set.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from tests.support.storage.cutting import cut

_READ = 65536


@dataclass(frozen=True, slots=True)
class Damage:
    """A changed octet of a flight or record (`at` wraps around), or all octets after it cut off."""

    at: int
    change: int = 0  # exclusive or; 0: cut off here

    def apply(self, octets: bytes) -> bytes:
        """The damaged octets."""
        at = self.at % len(octets)
        if not self.change:
            return octets[:at]
        return octets[:at] + bytes([octets[at] ^ self.change]) + octets[at + 1 :]


class Wire:
    """A connection to a server on loopback."""

    def __init__(self, connection: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = connection
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ended = False  # the server sends no more

    @classmethod
    async def connect(cls, host: str, port: int) -> Self:
        """Open a connection whose segments are sent as written."""
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
        """Send, under TLS if active, in segments of these sizes and a last one."""
        await self.send_raw(self.record(octets), sizes)

    async def send_raw(self, octets: bytes, sizes: Sequence[int] = ()) -> None:
        """Send octets as they are."""
        for piece in filter(None, cut(octets, sizes)):
            # A closed server answers RST; its earlier octets are still read.
            with suppress(OSError):
                await self._loop.sock_sendall(self._socket, piece)
            await asyncio.sleep(0)  # lets the server in this loop read the segment by itself

    def record(self, octets: bytes) -> bytes:
        """Encrypt octets by TLS (a record up to 16 kB); unchanged without TLS."""
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
                self.ended = True  # an alert: the server sends no more
            else:
                self.ended = not heard
                return heard
        return b""

    async def start_tls(self, context: ssl.SSLContext, sizes: Sequence[int] = ()) -> bool:
        """Shake hands; the flights have segments of these sizes. Returns True on success.

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
        await self.send_raw(self._outgoing.read())  # our alert
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
            with suppress(ssl.SSLError):  # the server's close_notify may never come
                self._tls.unwrap()
            await self.send_raw(self._outgoing.read())

    def finish(self) -> None:
        """Send FIN: no more octets from here."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    async def drain(self) -> None:
        """Read until the server has ended."""
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
