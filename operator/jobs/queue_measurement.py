"""Measures the queue again and again beside the daemon, at a pace that its length sets."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from relay.delivery.operator_labels import OperatorLabels
from relay.queue.destinations import read_destinations
from relay.queue_admin.depth import SLICE, Depth, Tally

_log = structlog.get_logger(__name__)

ROUND_SECONDS: Final = 5.0  # at least, from the end of a round to the next one
REST: Final = 19  # times what a slice took is rested after it: a twentieth of the time is work


@dataclass(slots=True)
class Measuring:
    """Rounds over a queue; `depth` is what the last whole one found, None before the first."""

    database: Database
    operators: OperatorLabels
    clock: Callable[[], datetime]
    interval: float = ROUND_SECONDS
    slice: int = SLICE
    depth: Depth | None = None

    async def run(self) -> None:
        """Measure now, and again and again; until cancelled."""
        while True:
            try:
                await self._round()
            except StoreUnavailable as error:
                _log.warning("queue.unmeasured", detail=str(error))
            except Exception:
                # Whatever it was, the next round must come: the age of this one is watched.
                _log.exception("queue.unmeasured")
            await asyncio.sleep(self.interval)

    async def _round(self) -> None:
        tally, more = Tally(), True
        while more:
            begun = time.monotonic()
            more = await asyncio.to_thread(self._read, tally)
            if more:
                await asyncio.sleep((time.monotonic() - begun) * REST)

        def end() -> Depth:
            with self.database.read() as connection:
                known = read_destinations(connection)
            self.operators.read()
            return tally.depth(known, self.clock(), self.operators.known)

        self.depth = await asyncio.to_thread(end)

    def _read(self, tally: Tally) -> bool:
        with self.database.read() as connection:
            return tally.read(connection, self.slice)
