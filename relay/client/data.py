"""Content of a message, sent by DATA or BDAT, never whole in memory.

The end of the message is sent only if the message is as it was accepted, so that the peer never has
a damaged one: not after a fault that lets a peer guess at the end (RFC 5321 §4.1.1.4), nor if the
size differs from the stored size.
"""

from typing import Final

from foundation.failpoints import failpoint
from mailstore.errors import StoreUnavailable
from relay.client.connection import ClientConnection, ConnectionFailed
from relay.client.replies import PeerReply
from relay.smtp.envelope import OutgoingMessage
from relay.smtp.failure_reason import FailureReason
from relay.smtp.framing import ChunkChecker, DotStuffer
from relay.smtp.line_checker import Violation

CHUNK: Final = 1024 * 1024  # octets of a BDAT: large; a refusal is seen between two chunks


class Unsendable(Exception):
    """Fault in the message: its end was not sent, and the connection cannot be used any more."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(str(violation))


class Unanswered(Exception):
    """Whole message sent, no reply to it: the peer may have it or not."""


class _Inspector:
    """Checks the message while it is sent."""

    def __init__(self, size: int) -> None:
        self._checker = ChunkChecker()
        self._missing = size

    def look(self, chunk: bytes) -> bytes:
        """Return the octets that may be sent now.  Raises Unsendable, StoreUnavailable."""
        self._missing -= len(chunk)
        piece = self._checker.feed(chunk)
        self._object(wrong_size=self._missing < 0)
        return piece

    def end(self) -> None:
        """Check the end of the message: only a bare CR can have been held back."""
        self._checker.finish()
        self._object(wrong_size=self._missing != 0)

    def _object(self, *, wrong_size: bool) -> None:
        if self._checker.violation is not None:
            raise Unsendable(self._checker.violation)
        if wrong_size:
            raise StoreUnavailable(f"a stored message is {-self._missing:+d} octets off its size")


async def send(
    connection: ClientConnection, message: OutgoingMessage, *, block: float, verdict: float
) -> PeerReply:
    """Send the message, after 354 or by BDAT; return the reply that decides.

    `block`: timeout of each block, `verdict`: timeout of the reply, in seconds.
    Raises ConnectionFailed if the end was not sent, Unanswered if it was, Unsendable, and errors
    from reading the message.  After any of them the connection must be closed.
    """
    by = _by_chunks if connection.offers.chunking else _by_data
    try:
        return await by(connection, message, block, verdict)
    except ConnectionFailed:
        # A peer that closes, or stops reading in mid-message, may have sent a refusal first.
        refusal = _refusal(connection)
        if refusal is None:
            raise
        connection.abort()
        return refusal


def _refusal(connection: ClientConnection) -> PeerReply | None:
    try:
        while (reply := connection.early_reply()) is not None:
            if reply.refusal:
                return reply
    except ConnectionFailed:
        return None
    return None


async def _by_data(
    connection: ClientConnection, message: OutgoingMessage, block: float, verdict: float
) -> PeerReply:
    inspector, stuffer = _Inspector(message.size), DotStuffer()
    async for chunk in message.octets:
        connection.write(stuffer.feed(inspector.look(chunk)))
        await connection.drain(block)
    inspector.end()
    early = connection.early_reply()
    if early is not None:
        # A reply before the end of the message: do not send the end, or the real reply and this
        # reply could be confused.
        if not early.refusal:
            raise ConnectionFailed(
                FailureReason.PROTOCOL, f"amid the message the peer said: {early}"
            )
        connection.abort()
        return early
    connection.write(stuffer.finish() + b".\r\n")
    return await _verdict(connection, verdict)


async def _by_chunks(
    connection: ClientConnection, message: OutgoingMessage, block: float, verdict: float
) -> PeerReply:
    inspector = _Inspector(message.size)
    missing, room, owed = message.size, 0, 0
    end = memoryview(b"BDAT 0 LAST\r\n" if not missing else b"")
    async for chunk in message.octets:
        rest = memoryview(inspector.look(chunk))
        while rest:
            if not room:
                owed, refused = await _before_chunk(connection, owed, verdict)
                if refused is not None:
                    return refused
                room = min(CHUNK, missing)
                connection.write(b"BDAT %d%s\r\n" % (room, b" LAST" if room == missing else b""))
                owed += 1
            part, rest = rest[:room], rest[room:]
            room, missing = room - len(part), missing - len(part)
            if missing:
                connection.write(part)
                await connection.drain(block)
            else:  # only once the end is certain
                end = part
    inspector.end()
    connection.write(end)
    return await _verdict(connection, verdict, before=max(owed - 1, 0))


async def _before_chunk(
    connection: ClientConnection, owed: int, verdict: float
) -> tuple[int, PeerReply | None]:
    """Read replies to earlier chunks; return the number still due, and a refusal if any.

    Without PIPELINING the reply to each chunk is awaited (RFC 3030 §4.2).
    """
    while owed:
        if connection.offers.pipelining:
            reply = connection.early_reply()
            if reply is None:
                break
        else:
            reply = await connection.reply(verdict)
        owed -= 1
        if reply.refusal:
            for _ in range(owed):
                await connection.reply(verdict)
            return 0, reply
        if not reply.positive:
            raise ConnectionFailed(FailureReason.PROTOCOL, f"to BDAT the peer said: {reply}")
    return owed, None


async def _verdict(connection: ClientConnection, seconds: float, before: int = 0) -> PeerReply:
    """Return the reply to the end of the message; `before` other replies come first.

    If a chunk was refused, and with it the end, the first refusal is the reason: later replies are
    about the order of commands.
    """
    connection.flush()
    failpoint("delivery.sent")
    first: PeerReply | None = None
    try:
        for _ in range(before + 1):
            reply = await connection.reply(seconds)
            if reply.refusal and first is None:
                first = reply
    except ConnectionFailed as error:
        if first is not None:
            return first
        raise Unanswered(str(error)) from error
    failpoint("delivery.answered")
    if not (reply.positive or reply.refusal):
        raise Unanswered(f"to the end of the message the peer said: {reply}")
    return reply if reply.positive else first or reply
