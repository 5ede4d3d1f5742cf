"""Tells of a clock that jumped: in the log, in the journal, and to whoever has to act on it.

And keeps the comparison with the database's clock up to date for what tells of it.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from foundation.clock_watch import ClockWatch, Jump, Memory
from foundation.journal.writer import Journal
from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from relay.machines.clock_difference import ClockComparison

from ..assembly import runtime
from ..settings.model import Settings

_log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 1.0
KEEP_SECONDS: Final = 60.0  # between two writings of what is known, besides each jump
COMPARE_SECONDS: Final = 5.0  # between two comparisons with the database's clock


async def watch_clock(
    watch: ClockWatch,
    journal: Journal | None = None,
    then: Callable[[Jump], None] = lambda _: None,
    keep: Callable[[Memory], None] | None = None,
) -> None:
    """Look at the clock again and again, until cancelled; `keep`, which may block, remembers."""
    keep_due = float("-inf")
    while True:
        jumps = watch.news()
        if keep is not None and (jumps or time.monotonic() >= keep_due):
            keep_due = time.monotonic() + KEEP_SECONDS
            await asyncio.to_thread(keep, watch.memory)
        for jump in jumps:
            facts = {"by_seconds": round(jump.by.total_seconds()), "detail": str(jump)}
            _log.error("clock.jumped", **facts)
            if journal is not None:
                journal.record("clock.jumped", **facts)
            then(jump)
        await asyncio.sleep(LOOK_SECONDS)


async def compare_once(clocks: ClockComparison) -> None:
    """Compare with the database's clock, unless the database is away."""
    with suppress(StoreUnavailable):
        await asyncio.to_thread(clocks.compare)


async def keep_comparing(clocks: ClockComparison) -> None:
    """Compare again and again, until cancelled."""
    while True:
        await compare_once(clocks)
        await asyncio.sleep(COMPARE_SECONDS)


def clock_doubts(settings: Settings, database: Database) -> list[str]:
    """Whether this machine would take no work for its clock, now.  Raises StoreUnavailable."""
    clocks = runtime.compare_clocks(settings, database)
    key = f"{settings.origin}: storage.max_clock_difference_seconds"
    return [f"{key}: {clocks.problem}"] if clocks.compare() else []
