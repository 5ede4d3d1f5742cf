"""A session without a socket: commands go to `Session.obey`, replies come back as values."""

import asyncio
from dataclasses import replace

from cryptography.hazmat.primitives.serialization import Encoding

from relay.connection.streams import ReplyWriter
from relay.server.context import SessionContext
from relay.server.peer_service import PEERS
from relay.server.policy import Handshake
from relay.server.session import Handler, Service, Session
from relay.smtp.errors import Reply, SmtpError
from tests.support.operators import trust_space


class Wire(asyncio.Transport):
    """A transport to nowhere, which keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 25)})
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        """Nothing is read."""

    resume_reading = pause_reading


def shown_by(operator: str) -> Handshake:
    """The handshake of a peer with this operator's certificate."""
    certificate = trust_space().operators[operator].certificate
    return Handshake("TLSv1.3", "TLS_AES_256_GCM_SHA384", certificate.public_bytes(Encoding.DER))


def without_tls(operator: str = "b") -> Service:
    """The service for peers, where STARTTLS is no more than its result."""

    async def starttls(session: Session, _argument: str) -> Reply:
        await session.secured(shown_by(operator))
        return Reply(220, "2.0.0", "Ready to start TLS")

    handlers: dict[bytes, Handler] = {**PEERS.handlers, b"STARTTLS": starttls}
    return replace(PEERS, handlers=handlers)


class Driver:
    """Commands in, replies out, one at a time; made in a running event loop."""

    def __init__(self, context: SessionContext, service: Service) -> None:
        self.session = Session(context, service)
        self.wire = Wire()
        self.session.outbound = ReplyWriter(self.wire)
        context.occupancy.enter(self.session, "127.0.0.1")
        self.session.journal.opened("127.0.0.1")
        self.session.policy.connected(self.session, self.session.journal)

    async def say(self, line: bytes, octets: bytes = b"") -> Reply:
        """The reply to a command, behind which these octets are on the wire."""
        self.session.inbound.feed(octets)
        verb, _, argument = line.partition(b" ")
        try:
            reply = await self.session.obey(verb, argument, line)
        except SmtpError as error:
            return error.reply
        assert reply is not None
        return reply

    def close(self) -> None:
        """Give back what the session holds."""
        session = self.session
        session.forget_transaction()
        session.policy.closed()
        session.context.occupancy.leave(session, "127.0.0.1", session.policy.name)
