"""Connection to a peer after its opening: octets out, replies in.

aiosmtplib opens the connection, but cannot run the transaction: its protocol allows one command in
flight, drops each reply beyond the expected reply, and its DATA needs the whole message in memory
(aiosmtplib 5).  So this protocol replaces it on the transport.
"""

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from relay.client.replies import MalformedReply, PeerReply, ReplyReader, shown
from relay.smtp.envelope import PeerExtensions
from relay.smtp.failure_reason import FailureReason

_GATHER: Final = 64 * 1024  # octets that justify a write of their own
_MAX_PENDING: Final = 64 * 1024  # octets of unread replies, above which reading pauses
_FAREWELL_SECONDS: Final = 5.0
_CUT_SECONDS: Final = 1.0


class ConnectionFailed(Exception):
    """Failure of the connection; it cannot be used any more."""

    def __init__(self, reason: FailureReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class TlsInfo:
    """TLS facts of the peer, to be checked: certificate (DER), version and cipher."""

    certificate: bytes | None
    tls_version: str
    cipher: str


def abort(transport: asyncio.WriteTransport) -> None:
    """Close a transport at once, in any state."""
    # Early versions of Python 3.11 raise AttributeError if the transport was closed twice.
    with suppress(AttributeError):
        transport.abort()


class ClientConnection(asyncio.Protocol):
    """A connection after STARTTLS and EHLO; one message at a time.

    `offers`: extensions of the peer.  `tls_info`: its TLS facts.
    """

    def __init__(
        self, host: str, transport: asyncio.Transport, offers: PeerExtensions, tls_info: TlsInfo
    ) -> None:
        self.host = host
        self.offers = offers
        self.tls_info = tls_info
        self.messages = 0  # transactions so far
        self.open_transaction = False  # a transaction has begun, without end or reset
        self._transport = transport
        self._replies = ReplyReader()
        self._out: list[bytes | memoryview] = []
        self._waiting = 0  # octets in `_out`
        self._reading = True
        self._leaving = False  # the peer sent 421
        self._failure: ConnectionFailed | None = None
        self._gone = asyncio.Event()
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        """Receive octets of replies."""
        self._replies.feed(data)
        if self._replies.pending > _MAX_PENDING and self._reading:
            self._reading = False
            self._transport.pause_reading()
        self._arrived.set()

    def eof_received(self) -> None:
        """Note EOF: the peer sends no more; the transport closes."""
        self._fail(ConnectionFailed(FailureReason.CONNECTION, "connection closed by the peer"))

    def connection_lost(self, error: Exception | None) -> None:
        """Note the end of the connection."""
        broken = isinstance(error, ssl.SSLError)
        reason = FailureReason.TLS if broken else FailureReason.CONNECTION
        said = f"connection lost: {shown(str(error))}" if error else "connection lost"
        self._fail(ConnectionFailed(reason, said))
        self._gone.set()

    def pause_writing(self) -> None:
        """Note that the peer reads too slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Note that the peer reads again."""
        self._writable.set()

    def _fail(self, why: ConnectionFailed) -> None:
        self._failure = self._failure or why
        self._arrived.set()
        self._writable.set()

    @property
    def quiet(self) -> bool:
        """Whether all replies received were read."""
        return self._replies.empty

    @property
    def usable(self) -> bool:
        """Whether another message may be sent."""
        return self._failure is None and self.quiet and not self._leaving

    def write(self, data: bytes | memoryview) -> None:
        """Buffer octets; they are sent with later octets, at the latest before a reply is read."""
        self._out.append(data)
        self._waiting += len(data)
        if self._waiting >= _GATHER:
            self.flush()

    def flush(self) -> None:
        """Send all buffered octets now."""
        if self._out and self._failure is None:
            self._transport.write(self._out[0] if len(self._out) == 1 else b"".join(self._out))
        self._out, self._waiting = [], 0

    async def drain(self, seconds: float) -> None:
        """Wait until the peer has taken enough of the octets sent.  Raises ConnectionFailed."""
        if not self._writable.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await self._writable.wait()
            except TimeoutError:
                detail = f"the peer took nothing for {seconds:g} s"
                raise ConnectionFailed(FailureReason.TIMEOUT, detail) from None
        if self._failure is not None:
            raise self._failure

    async def reply(self, seconds: float) -> PeerReply:
        """Return the next reply, also after the end of the connection.  Raises ConnectionFailed."""
        self.flush()
        found = self.early_reply()
        if found is None:
            try:
                async with asyncio.timeout(seconds):
                    while (found := self.early_reply()) is None:
                        await self._more()
            except TimeoutError:
                raise ConnectionFailed(
                    FailureReason.TIMEOUT, f"no reply within {seconds:g} s"
                ) from None
        return found

    def early_reply(self) -> PeerReply | None:
        """Return the next reply if already here.  Raises ConnectionFailed if it is malformed."""
        try:
            found = self._replies.take()
        except MalformedReply as error:
            raise ConnectionFailed(FailureReason.PROTOCOL, str(error)) from error
        if found is not None and found.code == 421:
            self._leaving = True
        return found

    async def _more(self) -> None:
        if self._failure is not None:
            raise self._failure
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()
        self._arrived.clear()
        await self._arrived.wait()

    async def quit(self) -> None:
        """Send QUIT, wait for its reply and for the end (RFC 5321 §4.1.1.10)."""
        with suppress(ConnectionFailed, TimeoutError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                self.write(b"QUIT\r\n")
                await self.reply(_FAREWELL_SECONDS)
                self._transport.close()
                await self._gone.wait()
        await self.cut()

    def abort(self) -> None:
        """Close the connection at once; buffered octets are dropped."""
        self._out, self._waiting = [], 0
        self._fail(ConnectionFailed(FailureReason.CONNECTION, "connection ended by us"))
        abort(self._transport)

    async def cut(self) -> None:
        """Abort, and wait for the end: the event loop may end after this call."""
        self.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CUT_SECONDS):
                await self._gone.wait()
