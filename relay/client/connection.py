"""One connection to a peer from the end of its opening on: octets out, replies in, nothing more.

aiosmtplib opens it.  From there it cannot be used: its protocol wants one command in flight and
drops every reply beyond the one that it waits for, and its DATA wants the message in memory
(aiosmtplib 5).  So this protocol takes its place on the transport.
"""

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from relay.client.replies import MalformedReply, PeerReply, ReplyReader, shown
from relay.smtp.envelope import PeerExtensions
from relay.smtp.failure_reason import FailureReason

_GATHER: Final = 64 * 1024  # octets that are worth a write of their own
_MAX_PENDING: Final = 64 * 1024  # octets of replies, until which the peer may get ahead of us
_FAREWELL_SECONDS: Final = 5.0
_CUT_SECONDS: Final = 1.0


class LinkFailed(Exception):
    """The connection is of no more use."""

    def __init__(self, reason: FailureReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class TlsInfo:
    """What the peer showed in TLS, to be judged: its certificate (DER), version and cipher."""

    certificate: bytes | None
    tls_version: str
    cipher: str


def abort(transport: asyncio.WriteTransport) -> None:
    """End a connection at once, whatever its state."""
    # asyncio of older versions of Python 3.11 forgets what to abort once it was closed twice.
    with suppress(AttributeError):
        transport.abort()


class ClientConnection(asyncio.Protocol):
    """A connection under TLS, greeted and told what the peer offers; one message at a time."""

    def __init__(
        self, host: str, transport: asyncio.Transport, offers: PeerExtensions, certificate: TlsInfo
    ) -> None:
        self.host = host
        self.offers = offers
        self.shown = certificate
        self.messages = 0  # transactions begun
        self.open_transaction = False  # one was begun and neither ended nor reset
        self._transport = transport
        self._replies = ReplyReader()
        self._out: list[bytes | memoryview] = []
        self._waiting = 0  # octets in `_out`
        self._reading = True
        self._leaving = False  # said by the peer, with 421
        self._lost: LinkFailed | None = None
        self._gone = asyncio.Event()
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        """Octets of replies."""
        self._replies.feed(data)
        if self._replies.pending > _MAX_PENDING and self._reading:
            self._reading = False
            self._transport.pause_reading()
        self._arrived.set()

    def eof_received(self) -> None:
        """The peer stopped sending; the transport closes."""
        self._lose(LinkFailed(FailureReason.CONNECTION, "connection closed by the peer"))

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        broken = isinstance(error, ssl.SSLError)
        reason = FailureReason.TLS if broken else FailureReason.CONNECTION
        said = f"connection lost: {shown(str(error))}" if error else "connection lost"
        self._lose(LinkFailed(reason, said))
        self._gone.set()

    def pause_writing(self) -> None:
        """The peer does not read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._writable.set()

    def _lose(self, why: LinkFailed) -> None:
        self._lost = self._lost or why
        self._arrived.set()
        self._writable.set()

    @property
    def quiet(self) -> bool:
        """Whether all that the peer said has been read."""
        return self._replies.empty

    @property
    def usable(self) -> bool:
        """Whether another message may be tried."""
        return self._lost is None and self.quiet and not self._leaving

    def write(self, data: bytes | memoryview) -> None:
        """Say something; it leaves with what comes next, at the latest before a reply is read."""
        self._out.append(data)
        self._waiting += len(data)
        if self._waiting >= _GATHER:
            self.flush()

    def flush(self) -> None:
        """Let all that was said leave now."""
        if self._out and self._lost is None:
            self._transport.write(self._out[0] if len(self._out) == 1 else b"".join(self._out))
        self._out, self._waiting = [], 0

    async def drain(self, seconds: float) -> None:
        """Wait until the peer has taken enough of what was said.  Raises LinkFailed."""
        if not self._writable.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await self._writable.wait()
            except TimeoutError:
                detail = f"the peer took nothing for {seconds:g} s"
                raise LinkFailed(FailureReason.TIMEOUT, detail) from None
        if self._lost is not None:
            raise self._lost

    async def reply(self, seconds: float) -> PeerReply:
        """The next reply, one that came before the connection ended too.  Raises LinkFailed."""
        self.flush()
        found = self.early_reply()
        if found is None:
            try:
                async with asyncio.timeout(seconds):
                    while (found := self.early_reply()) is None:
                        await self._more()
            except TimeoutError:
                raise LinkFailed(FailureReason.TIMEOUT, f"no reply within {seconds:g} s") from None
        return found

    def early_reply(self) -> PeerReply | None:
        """The next reply if it is here already.  Raises LinkFailed for what is none."""
        try:
            found = self._replies.take()
        except MalformedReply as error:
            raise LinkFailed(FailureReason.PROTOCOL, str(error)) from error
        if found is not None and found.code == 421:
            self._leaving = True
        return found

    async def _more(self) -> None:
        if self._lost is not None:
            raise self._lost
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()
        self._arrived.clear()
        await self._arrived.wait()

    async def quit(self) -> None:
        """Take leave as RFC 5321 §4.1.1.10 wants it: QUIT, its reply, the end."""
        with suppress(LinkFailed, TimeoutError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                self.write(b"QUIT\r\n")
                await self.reply(_FAREWELL_SECONDS)
                self._transport.close()
                await self._gone.wait()
        await self.cut()

    def abort(self) -> None:
        """End the connection at once: what was not sent is not sent."""
        self._out, self._waiting = [], 0
        self._lose(LinkFailed(FailureReason.CONNECTION, "connection ended by us"))
        abort(self._transport)

    async def cut(self) -> None:
        """The same, and see it gone: the event loop may end behind it."""
        self.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CUT_SECONDS):
                await self._gone.wait()
