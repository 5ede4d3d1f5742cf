"""Receiving the octets of one message: from the connection through framing into a draft.

Whatever is wrong with the message or the store, the peer's octets are read up to their end, so that
the reply is read as the answer to this message and never as the answer to a command smuggled in it.
"""

import asyncio
from collections.abc import Callable

from mailstore.drafts import Draft
from mailstore.errors import StoreUnavailable
from relay.errors import Reply, SmtpError, StoreDeferred
from relay.framing import DataDecoder
from relay.headers import HeaderCollector, HeaderFacts
from relay.streams import InboundBuffer


async def receive(
    inbound: InboundBuffer, draft: Draft, limit: int, progress: Callable[[], None]
) -> HeaderFacts:
    """Read a message up to `CRLF.CRLF` into `draft`; `progress` is called for each chunk.

    Returns what its header says.  Raises SmtpError, at the end of the message, for more than
    `limit` octets, for a framing violation (550 5.6.0) and for a store that is unwell (451 4.3.0).
    """
    decoder, header = DataDecoder(), HeaderCollector()
    problem: SmtpError | None = None
    ended = False
    while not ended:
        chunk = await inbound.read()
        progress()
        framed = decoder.feed(chunk)
        ended = framed.ended
        if ended:
            inbound.unread(framed.rest)
        if problem is not None:
            continue
        if decoder.violation is not None:
            problem = SmtpError(Reply(550, "5.6.0", f"Message contains {decoder.violation}"))
        elif draft.size + len(framed.payload) > limit:
            problem = SmtpError(Reply(552, "5.3.4", f"Message over the limit of {limit} octets"))
        else:
            header.feed(framed.payload)
            problem = await _write(draft, framed.payload)
        if problem is not None:
            draft.discard()
    if problem is not None:
        raise problem
    return header.facts()


async def _write(draft: Draft, payload: bytes) -> SmtpError | None:
    try:
        if not draft.would_block(len(payload)):
            draft.write(payload)
            return None
        writing = asyncio.create_task(asyncio.to_thread(draft.write, payload))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            # The peer has gone: whoever discards the draft must find it still.
            await asyncio.wait({writing})
            raise
    except StoreUnavailable as error:
        return StoreDeferred(str(error))
    return None
