"""Garbage collection of the store: frees unreferenced bodies, removes abandoned drafts.

Safe at any time, and on several machines at once (`mailstore.blobs.gc`).  An error is logged; the
next round tries again.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog
from prometheus_client import Counter

from mailstore.blobs.gc import GRACE, GcResult, collect_garbage
from mailstore.blobs.store import Store

from ..assembly.clock import utc_now

_log = structlog.get_logger(__name__)

# Longer than any message may take to arrive: a draft in use is never removed.
ABANDONED: Final = timedelta(days=1)

FIRST_SECONDS: Final = 300.0  # from the start to the first round: a restart has other work

ROUNDS: Final = Counter(
    "mssante_store_gc_rounds", "Rounds of freeing what no message needs: done, failed", ["outcome"]
)
FREED: Final = Counter(
    "mssante_store_freed", "What they freed: messages, bodies, octets of bodies", ["what"]
)


@dataclass(slots=True)
class BlobGcJob:
    """Rounds of garbage collection.  First round: `first` seconds after the start.

    While the clock is `in_doubt`, nothing is removed: young files would look old.
    """

    store: Store
    interval: float  # seconds; 0 for no rounds
    in_doubt: Callable[[], bool] = lambda: False
    first: float = FIRST_SECONDS
    _ending: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Remove abandoned drafts now, then collect every `interval` seconds until cancelled."""
        for outcome in ("done", "failed"):
            ROUNDS.labels(outcome)  # starts at 0, so that the first failure shows as an increase
        await self._sweep()
        if not self.interval:
            return
        pause = min(self.first, self.interval)
        try:
            while True:
                await asyncio.sleep(pause)
                pause = self.interval
                await self._free()
                await self._sweep()
        finally:
            self._ending = True  # stops the thread of a round in progress

    async def _sweep(self) -> None:
        before = utc_now() - ABANDONED
        if self.in_doubt():
            return
        try:
            removed = await asyncio.to_thread(self.store.blobs.sweep, before)
        except Exception:
            # Any error: abandoned files only take room, mail does not depend on them.
            _log.exception("store.unswept")
        else:
            if removed:
                _log.info("store.swept", leftovers=removed)

    async def _free(self) -> None:
        if self.in_doubt():
            _log.warning(
                "store.unfreed",
                why="the clock jumped within the last day, or differs from the database's",
            )
            return
        begun = time.monotonic()
        try:
            freed = await asyncio.to_thread(self._collect)
        except Exception:
            # Any error: the next round must run, or the store only grows.
            _log.exception("store.unfreed")
            ROUNDS.labels("failed").inc()
            return
        ROUNDS.labels("done").inc()
        FREED.labels("messages").inc(freed.messages)
        FREED.labels("bodies").inc(freed.blobs)
        FREED.labels("octets").inc(freed.octets)
        _log.info(
            "store.freed",
            messages=freed.messages,
            bodies=freed.blobs,
            octets=freed.octets,
            seconds=round(time.monotonic() - begun, 3),
        )

    def _collect(self) -> GcResult:
        before = utc_now() - GRACE
        return collect_garbage(self.store.database, self.store.blobs, before, self._goes_on)

    def _goes_on(self) -> bool:
        return not self._ending and not self.in_doubt()
