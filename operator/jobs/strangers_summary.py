"""Tells now and then how much strangers did that was not told of (`relay.connection.strangers`)."""

import asyncio
from typing import Final

import structlog

from relay.server.context import SessionContext

_log = structlog.get_logger(__name__)

SUM_SECONDS: Final = 60.0


async def sum_up_strangers(context: SessionContext) -> None:
    """Tell every minute, if there was anything; until cancelled."""
    while True:
        await asyncio.sleep(SUM_SECONDS)
        tell_of_strangers(context)


def tell_of_strangers(context: SessionContext) -> None:
    """Tell in journal and log what was only counted since the last time."""
    for facts in context.strangers.sum_up():
        context.journal.record("strangers.more", **facts)
        _log.info("strangers.more", **facts)
