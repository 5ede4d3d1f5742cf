"""Session without a socket: commands go to `Session.run_command`, replies are return values."""

import asyncio
from dataclasses import replace

from cryptography.hazmat.primitives.serialization import Encoding

from relay.connection.streams import ReplyWriter
from relay.server.context import SessionContext
from relay.server.peer_service import PEERS
from relay.server.session import Handler, Service, Session
from relay.server.session_policy import Handshake
from relay.smtp.errors import SmtpError
from relay.smtp.reply import Reply
from tests.support.machines.operators import trust_space


class Wire(asyncio.Transport):
    """Transport without a socket, which keeps written octets."""

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
        """Do nothing: there is no input."""

    resume_reading = pause_reading


def shown_by(operator: str) -> Handshake:
    """Result of a handshake with this operator's certificate."""
    certificate = trust_space().operators[operator].certificate
    return Handshake("TLSv1.3", "TLS_AES_256_GCM_SHA384", certificate.public_bytes(Encoding.DER))


def without_tls(operator: str = "b") -> Service:
    """Service for peers in which STARTTLS only returns a given result."""

    async def starttls(session: Session, _argument: str) -> Reply:
        await session.secured(shown_by(operator))
        return Reply(220, "2.0.0", "Ready to start TLS")

    handlers: dict[bytes, Handler] = {**PEERS.handlers, b"STARTTLS": starttls}
    return replace(PEERS, handlers=handlers)


class Driver:
    """Session driver: one command in, one reply out.  Create it in a running event loop."""

    def __init__(self, context: SessionContext, service: Service) -> None:
        self.session = Session(context, service)
        self.wire = Wire()
        self.session.outbound = ReplyWriter(self.wire)
        context.connection_counts.add(self.session, "127.0.0.1")
        self.session.journal.opened("127.0.0.1")
        self.session.policy.connected(self.session, self.session.journal)

    async def say(self, line: bytes, octets: bytes = b"") -> Reply:
        """Reply to a command.  `octets`: follow the command on the wire."""
        self.session.inbound.feed(octets)
        verb, _, argument = line.partition(b" ")
        try:
            reply = await self.session.run_command(verb, argument, line)
        except SmtpError as error:
            return error.reply
        assert reply is not None
        return reply

    def close(self) -> None:
        """Release the resources of the session."""
        session = self.session
        session.forget_transaction()
        session.policy.closed()
        session.context.connection_counts.remove(session, "127.0.0.1", session.policy.name)
