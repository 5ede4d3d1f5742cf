"""The content of a message on its way to a peer, by DATA or by BDAT, never in memory as a whole.

Whatever is not the message that was accepted is never ended, so that the peer never has it: one
with a fault that would let a peer guess where it ends (RFC 5321 §4.1.1.4), and one of another size
than was stored.
"""

from typing import Final

from foundation.failpoints import failpoint
from mailstore.errors import StoreUnavailable
from relay.client.connection import ClientConnection, LinkFailed
from relay.client.replies import PeerReply
from relay.smtp.envelope import OutgoingMessage
from relay.smtp.failure_reason import FailureReason
from relay.smtp.framing import ChunkChecker, DotStuffer
from relay.smtp.line_checker import Violation

CHUNK: Final = 1024 * 1024  # octets of a BDAT: large, and a refusal is heard between two of them


class Unsendable(Exception):
    """The message has a fault; it was not ended, and the connection is of no more use."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(str(violation))


class Unanswered(Exception):
    """The whole message was sent and no reply to it came: the peer may have it or not."""


class _Inspector:
    """Looks at the message as it passes."""

    def __init__(self, size: int) -> None:
        self._checker = ChunkChecker()
        self._missing = size

    def look(self, chunk: bytes) -> bytes:
        """What of the message may be sent now.  Raises Unsendable, StoreUnavailable."""
        self._missing -= len(chunk)
        piece = self._checker.feed(chunk)
        self._object(wrong_size=self._missing < 0)
        return piece

    def end(self) -> None:
        """The message is over: nothing but a bare CR can have been held back."""
        self._checker.finish()
        self._object(wrong_size=self._missing != 0)

    def _object(self, *, wrong_size: bool) -> None:
        if self._checker.violation is not None:
            raise Unsendable(self._checker.violation)
        if wrong_size:
            raise StoreUnavailable(f"a stored message is {-self._missing:+d} octets off its size")


async def send(
    link: ClientConnection, letter: OutgoingMessage, *, block: float, verdict: float
) -> PeerReply:
    """Send the message, after 354 or where BDAT is offered; returns the reply that decides.

    The peer may take `block` seconds for what is on its way and `verdict` for its reply.  Raises
    LinkFailed if the message was not ended, Unanswered if it was, Unsendable and what reading it
    raises; after each of them the connection must be ended.
    """
    by = _by_chunks if link.offers.chunking else _by_data
    try:
        return await by(link, letter, block, verdict)
    except LinkFailed:
        # A peer that hangs up or stops reading in the middle may have said why.
        refusal = _refusal(link)
        if refusal is None:
            raise
        link.abort()
        return refusal


def _refusal(link: ClientConnection) -> PeerReply | None:
    try:
        while (reply := link.early_reply()) is not None:
            if reply.refusal:
                return reply
    except LinkFailed:
        return None
    return None


async def _by_data(
    link: ClientConnection, letter: OutgoingMessage, block: float, verdict: float
) -> PeerReply:
    inspector, stuffer = _Inspector(letter.size), DotStuffer()
    async for chunk in letter.octets:
        link.write(stuffer.feed(inspector.look(chunk)))
        await link.drain(block)
    inspector.end()
    early = link.early_reply()
    if early is not None:
        # Said of a message that has not ended, and so must not: the verdict would be taken for
        # nothing, or this for the verdict.
        if not early.refusal:
            raise LinkFailed(FailureReason.PROTOCOL, f"amid the message the peer said: {early}")
        link.abort()
        return early
    link.write(stuffer.finish() + b".\r\n")
    return await _verdict(link, verdict)


async def _by_chunks(
    link: ClientConnection, letter: OutgoingMessage, block: float, verdict: float
) -> PeerReply:
    inspector = _Inspector(letter.size)
    missing, room, owed = letter.size, 0, 0
    end = memoryview(b"BDAT 0 LAST\r\n" if not missing else b"")
    async for chunk in letter.octets:
        rest = memoryview(inspector.look(chunk))
        while rest:
            if not room:
                owed, refused = await _before_chunk(link, owed, verdict)
                if refused is not None:
                    return refused
                room = min(CHUNK, missing)
                link.write(b"BDAT %d%s\r\n" % (room, b" LAST" if room == missing else b""))
                owed += 1
            part, rest = rest[:room], rest[room:]
            room, missing = room - len(part), missing - len(part)
            if missing:
                link.write(part)
                await link.drain(block)
            else:  # not before the message is known to end here
                end = part
    inspector.end()
    link.write(end)
    return await _verdict(link, verdict, before=max(owed - 1, 0))


async def _before_chunk(
    link: ClientConnection, owed: int, verdict: float
) -> tuple[int, PeerReply | None]:
    """Hear of the chunks before: how many replies are still due, and the refusal of one if any.

    Without PIPELINING every chunk's reply is waited for (RFC 3030 §4.2).
    """
    while owed:
        if link.offers.pipelining:
            reply = link.early_reply()
            if reply is None:
                break
        else:
            reply = await link.reply(verdict)
        owed -= 1
        if reply.refusal:
            for _ in range(owed):
                await link.reply(verdict)
            return 0, reply
        if not reply.positive:
            raise LinkFailed(FailureReason.PROTOCOL, f"to BDAT the peer said: {reply}")
    return owed, None


async def _verdict(link: ClientConnection, seconds: float, before: int = 0) -> PeerReply:
    """The reply to the end of the message, which `before` others precede.

    Where a chunk was refused and with it the end, the first refusal is the reason: what follows it
    is about the order of commands.
    """
    link.flush()
    failpoint("delivery.sent")
    first: PeerReply | None = None
    try:
        for _ in range(before + 1):
            reply = await link.reply(seconds)
            if reply.refusal and first is None:
                first = reply
    except LinkFailed as error:
        if first is not None:
            return first
        raise Unanswered(str(error)) from error
    failpoint("delivery.answered")
    if not (reply.positive or reply.refusal):
        raise Unanswered(f"to the end of the message the peer said: {reply}")
    return reply if reply.positive else first or reply
