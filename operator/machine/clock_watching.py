"""Clock watching: jumps go to log, journal and a callback; comparison with the database's clock."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from foundation.clock_watch import ClockMemory, ClockWatch, Jump
from foundation.journal.writer import Journal
from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from relay.machines.clock_difference import ClockComparison

from ..assembly.storage import compare_clocks
from ..settings.model import Settings

_log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 1.0
KEEP_SECONDS: Final = 60.0  # between two writes of the state; a jump is written at once
COMPARE_SECONDS: Final = 5.0  # between two comparisons with the database's clock


async def watch_clock(
    watch: ClockWatch,
    journal: Journal | None = None,
    then: Callable[[Jump], None] = lambda _: None,
    keep: Callable[[ClockMemory], None] | None = None,
) -> None:
    """Look at the clock every LOOK_SECONDS until cancelled.

    `then`: called with each jump.  `keep`: writes the state; may block, runs in a thread.
    """
    keep_due = float("-inf")
    while True:
        jumps = watch.new_jumps()
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
    """Compare with the database's clock; no effect if the database is unreachable."""
    with suppress(StoreUnavailable):
        await asyncio.to_thread(clocks.compare)


async def keep_comparing(clocks: ClockComparison) -> None:
    """Compare every COMPARE_SECONDS until cancelled."""
    while True:
        await compare_once(clocks)
        await asyncio.sleep(COMPARE_SECONDS)


def clock_doubts(settings: Settings, database: Database) -> list[str]:
    """A doubt if the clock differs so much that the courier would stop, else none.

    Raises StoreUnavailable.
    """
    clocks = compare_clocks(settings, database)
    key = f"{settings.origin}: storage.max_clock_difference_seconds"
    return [f"{key}: {clocks.problem}"] if clocks.compare() else []
