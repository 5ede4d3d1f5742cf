"""Tells of a clock that jumped: in the log, in the journal, and to whoever has to act on it."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from relay.clock_watch import ClockWatch, Jump
from relay.journal import Journal

_log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 1.0


async def watch_clock(
    watch: ClockWatch,
    journal: Journal | None = None,
    then: Callable[[Jump], None] = lambda _: None,
) -> None:
    """Look at the clock again and again, until cancelled."""
    while True:
        for jump in watch.news():
            facts = {"by_seconds": round(jump.by.total_seconds()), "detail": str(jump)}
            _log.error("clock.jumped", **facts)
            if journal is not None:
                journal.record("clock.jumped", **facts)
            then(jump)
        await asyncio.sleep(LOOK_SECONDS)
