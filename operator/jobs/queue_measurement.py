"""Measurement of the queue for metrics, in slices; a longer queue is measured less often."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from relay.operator_labels import OperatorLabels
from relay.queue.destinations import read_destinations
from relay.queue_admin.depth import SLICE, DepthCount, QueueDepth

_log = structlog.get_logger(__name__)

ROUND_SECONDS: Final = 5.0  # pause between two rounds
REST: Final = 19  # pause after a slice, as a multiple of its time: work is 1/20 of the time


@dataclass(slots=True)
class QueueMeasurement:
    """Rounds over the queue.  `depth`: result of the last complete round, None before the first."""

    database: Database
    operators: OperatorLabels
    clock: Callable[[], datetime]
    interval: float = ROUND_SECONDS
    slice: int = SLICE
    depth: QueueDepth | None = None

    async def run(self) -> None:
        """Measure until cancelled, with a pause of `interval` seconds between two rounds."""
        while True:
            try:
                await self._round()
            except StoreUnavailable as error:
                _log.warning("queue.unmeasured", detail=str(error))
            except Exception:
                # Any error: the next round must run; an alert watches the age of the result.
                _log.exception("queue.unmeasured")
            await asyncio.sleep(self.interval)

    async def _round(self) -> None:
        tally, more = DepthCount(), True
        while more:
            begun = time.monotonic()
            more = await asyncio.to_thread(self._read, tally)
            if more:
                await asyncio.sleep((time.monotonic() - begun) * REST)

        def end() -> QueueDepth:
            with self.database.read() as connection:
                known = read_destinations(connection)
            self.operators.read()
            return tally.depth(known, self.clock(), self.operators.known)

        self.depth = await asyncio.to_thread(end)

    def _read(self, tally: DepthCount) -> bool:
        with self.database.read() as connection:
            return tally.read(connection, self.slice)
