"""Receives the octets of a message: from the connection through framing into a draft.

Even if message or store have a fault, the peer's octets are read to their end: so the reply answers
this message, and never a command smuggled in it.  A peer that sends far beyond the limit, or too
slowly, is disconnected.
"""

import asyncio
from typing import Final

from mailstore.errors import StoreUnavailable
from mailstore.sealed.draft import Draft
from relay.connection.limits import Pace
from relay.connection.streams import InboundBuffer
from relay.policy.sizes import is_report, limit_of, over
from relay.smtp.errors import Disconnected, SmtpError, StoreDeferred
from relay.smtp.framing import ChunkChecker, DataDecoder
from relay.smtp.headers import HeaderCollector
from relay.smtp.line_checker import Violation
from relay.smtp.reply import Reply

OVERRUN: Final = 10  # times the limit: more is not read of a message refused for its size


class MessageReceiver:
    """A message on its way into a draft; the first problem is kept, later octets are dropped.

    One `pace` per message, waits between BDAT chunks included: otherwise every chunk would get a
    new grace period.
    """

    def __init__(
        self, draft: Draft, limit: int, header_limit: int, pace: Pace, *, report: bool = False
    ) -> None:
        """`limit` is that of ordinary mail; `report`: the message is known to be a report."""
        self.draft = draft
        self.report = report
        self.pace = pace
        self.header = HeaderCollector(header_limit)
        self.problem: SmtpError | None = None
        self.chunks = ChunkChecker()
        self._limit = limit
        self._read = 0

    async def take(self, payload: bytes, violation: Violation | None) -> None:
        """Take the next message octets, with the violation that framing found so far.

        Raises Disconnected for a message far beyond the limit.
        """
        self._read += len(payload)
        if self._read > self._limit * OVERRUN:
            raise Disconnected(self.too_big.reply, f"{self._read} octets and no end")
        if self.problem is not None:
            return
        if violation is not None:
            self.problem = SmtpError(Reply(550, "5.6.0", f"Message contains {violation}"))
        else:
            self.header.feed(payload)
            self.problem = self.too_big if self._over else await _write(self.draft, payload)
        if self.problem is not None:
            self.draft.discard()

    def exceeds(self, octets: int) -> bool:
        """Whether `octets` more would be far beyond the limit."""
        return self._read + octets > self._limit * OVERRUN

    @property
    def too_big(self) -> SmtpError:
        """The refusal of a message over the limit."""
        return SmtpError(over(limit_of(self._limit, report=self.report)))

    @property
    def _over(self) -> bool:
        if self._read <= self._limit:
            return False
        self.report = self.report or is_report(self.header.section)
        return self._read > limit_of(self._limit, report=self.report)


class PacedReader:
    """The peer's octets of a message, read with the timeout of its pace."""

    def __init__(self, inbound: InboundBuffer, pace: Pace) -> None:
        self.inbound = inbound
        self._pace = pace

    async def read(self, limit: int | None = None) -> bytes:
        """The next octets: at least one, at most `limit`, as many as have arrived.

        Raises Disconnected for a peer that is too slow.
        """
        if self.inbound.empty:
            clock = asyncio.get_running_loop().time
            begun = clock()
            try:
                await self.inbound.wait(self._pace.timeout)
            except TimeoutError:
                raise _too_slow() from None
            self._pace.waited(clock() - begun)
        octets = self.inbound.take(limit)
        self._pace.received(len(octets))
        return octets

    async def readline(self, longest: float) -> bytes:
        """The command line after a chunk, within `longest` seconds at most.

        Raises Disconnected as `read` does: without it, chunks of one octet could come at any rate.
        """
        clock = asyncio.get_running_loop().time
        begun = clock()
        try:
            async with asyncio.timeout(min(self._pace.timeout, longest)):
                line = await self.inbound.readline()
        except TimeoutError:
            raise _too_slow() from None
        self._pace.waited(clock() - begun)
        return line


def _too_slow() -> Disconnected:
    reply = Reply(421, "4.4.2", "Message comes too slowly, connection closed")
    return Disconnected(reply, "below min_rate or silent")


async def receive_data(source: PacedReader, body: MessageReceiver) -> None:
    """Read the octets after `354` up to `CRLF.CRLF` (RFC 5321 §4.1.1.4)."""
    decoder = DataDecoder()
    ended = False
    while not ended:
        framed = decoder.feed(await source.read())
        ended = framed.ended
        if ended:
            source.inbound.unread(framed.rest)
        await body.take(framed.payload, decoder.violation)


async def receive_chunk(
    source: PacedReader, body: MessageReceiver, octets: int, *, last: bool
) -> None:
    """Read one chunk of BDAT (RFC 3030 §2)."""
    while octets:
        piece = await source.read(octets)
        octets -= len(piece)
        await body.take(body.chunks.feed(piece), body.chunks.violation)
    if last:
        await body.take(body.chunks.finish(), body.chunks.violation)


async def skip(source: PacedReader, octets: int) -> None:
    """Read and drop a refused chunk, so that commands are read after it (RFC 3030 §2)."""
    while octets:
        octets -= len(await source.read(octets))


async def _write(draft: Draft, payload: bytes) -> SmtpError | None:
    try:
        if not draft.would_block(len(payload)):
            draft.write(payload)
            return None
        writing = asyncio.create_task(asyncio.to_thread(draft.write, payload))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            # The peer has gone: the thread must end before the draft is discarded.
            await asyncio.wait({writing})
            raise
    except StoreUnavailable as error:
        return StoreDeferred(str(error))
    return None
