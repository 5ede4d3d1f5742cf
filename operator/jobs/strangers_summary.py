"""Regular summary of strangers' events that were only counted (`relay.connection.strangers`)."""

import asyncio
from typing import Final

import structlog

from relay.server.context import SessionContext

_log = structlog.get_logger(__name__)

SUM_SECONDS: Final = 60.0


async def sum_up_strangers(context: SessionContext) -> None:
    """Record a summary every SUM_SECONDS, if there is anything to record, until cancelled."""
    while True:
        await asyncio.sleep(SUM_SECONDS)
        tell_of_strangers(context)


def tell_of_strangers(context: SessionContext) -> None:
    """Record in journal and log the events counted since the last call."""
    for facts in context.strangers.sum_up():
        context.journal.record("strangers.more", **facts)
        _log.info("strangers.more", **facts)
