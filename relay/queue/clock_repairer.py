"""Clock repairer: repairs times written by a clock that was ahead (`clock_repair`), and logs it.

The whole queue is read at the start, after a clock jump, each hour, and when a look at the indexes
finds a time too far ahead, perhaps written by another machine.  If the clocks of this machine and
of the database differ, nothing is changed: this machine's clock may be behind.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from relay.queue.clock_repair import (
    Ahead,
    Reading,
    Waits,
    any_due_ahead,
    deliveries_ahead,
    destinations_ahead,
    repair_deliveries,
    repair_destinations,
)

_log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 30.0  # between two looks at the indexes
WHOLE_SECONDS: Final = 3600.0  # between two reads of the whole queue
SLICE: Final = 5000  # deliveries per read: some milliseconds
BATCH: Final = 500  # deliveries changed per transaction: other writers wait for it


@dataclass(slots=True)
class ClockRepairer:
    """Repairs one queue; `record` writes to the journal.

    `node`: name before the `:` in this machine's leases.  If the database has no clock of its own,
    only these leases are shortened.
    `proven`: whether the clock may correct `created_at` and failure times
    (`foundation.clock_watch`).
    `apart`: whether the clocks of machine and database are known to differ.  It may block, and may
    raise StoreUnavailable.
    """

    database: Database
    waits: Waits
    clock: Callable[[], datetime]
    record: Callable[..., None]
    node: str
    proven: Callable[[], bool]
    apart: Callable[[], bool] = lambda: False
    _jumped: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def jumped(self) -> None:
        """Note a clock jump: read the whole queue now."""
        self._jumped.set()

    async def run(self) -> None:
        """Repair now, then again and again, until cancelled."""
        whole_due = float("-inf")
        while True:
            whole = self._jumped.is_set() or time.monotonic() >= whole_due
            self._jumped.clear()
            try:
                if await asyncio.to_thread(self.mend, whole=whole):
                    whole_due = time.monotonic() + WHOLE_SECONDS
            except StoreUnavailable as error:
                _log.warning("clock.unmended", detail=str(error))
                whole_due = float("-inf")
            except Exception:
                # The next round must come after any error, or mail would wait for weeks.
                _log.exception("clock.unmended")
                whole_due = float("-inf")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._jumped.wait(), LOOK_SECONDS)

    def mend(self, *, whole: bool = True) -> bool:
        """Repair, if `whole` or if an index shows the need; return whether all was read.

        Blocks.  Raises StoreUnavailable.
        """
        if self.apart():
            return False
        now = self.clock()
        with self.database.read() as connection:
            dead = destinations_ahead(connection, now, self.waits)
            whole = whole or bool(dead) or any_due_ahead(connection, now, self.waits)
        node = None if self.database.several else self.node
        reading = Reading(now, node, self.proven())
        if dead:
            with self.database.write() as connection:
                self._tell(repair_destinations(connection, now, self.waits), now)
        after: int | None = 0
        while whole and after is not None:
            with self.database.read() as connection:
                found = deliveries_ahead(connection, reading, self.waits, after=after, limit=SLICE)
            for first in range(0, len(found.keys), BATCH):
                keys = found.keys[first : first + BATCH]
                with self.database.write() as connection:
                    mended = repair_deliveries(connection, keys, reading, self.waits)
                self._tell(mended, now)
            after = found.last
        return whole

    def _tell(self, mended: Ahead, now: datetime) -> None:
        if mended.furthest is None:
            return
        facts = {
            "domains": list(mended.domains),
            "deliveries": len(mended.deliveries),
            "furthest": mended.furthest.isoformat(timespec="seconds"),
            "now": now.isoformat(timespec="seconds"),
            "detail": "instants in the queue lay further ahead than they can: the clock of this "
            "machine, or of another of this queue, was ahead; tried again at once",
        }
        _log.error("clock.was_ahead", **facts)
        self.record("clock.was_ahead", **facts)
