"""Finds mail that no attempt will tell of in time: late without its sender knowing, or over.

Mail for a dead destination is not tried one by one, and a backlog may take longer than a sender
should be left in the dark.  So the queue is read by number, some thousands at a time, from the
first to the last and from the first again.  Work and rest are in proportion, so that a million
deliveries are looked through in less than a minute, and delivery goes on.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from relay.delivery.events import DeliveryEvents
from relay.delivery.turn_commit import Settling
from relay.delivery.turn_transaction import Batch
from relay.queue.attempt_result import OVERDUE, Ending, ending
from relay.queue.destinations import read_destinations
from relay.queue.due import overdue
from relay.queue.model import DestinationRow
from relay.queue.retry import RetryPolicy

_log = structlog.get_logger(__name__)

SLICE: Final = 5000  # deliveries looked at in one step
MOST: Final = 50  # of them told of in one step: a transaction that others wait for
REST: Final = 19.0  # times what a step took is rested after it
REST_TELLING: Final = 0.25  # the same where there was something to tell


@dataclass(slots=True)
class Sweeper:
    """Settles what it finds, until stopped.

    At least `poll` seconds lie between two rounds; `usable` says whether mail may be given up: not
    without a white list.  `steady` is the clock by which mail grows old, `longest` the longest wait
    for the probe of a dead destination.  Work and rest are measured by `monotonic`.
    """

    database: Database
    settling: Settling
    events: DeliveryEvents
    policy: RetryPolicy
    clock: Callable[[], datetime]
    steady: Callable[[], datetime]
    poll: float
    usable: Callable[[], bool]
    longest: timedelta
    monotonic: Callable[[], float] = time.monotonic
    _after: int = field(default=0, init=False)
    _endings: list[Ending] = field(default_factory=list, init=False)

    async def run(self, stop: asyncio.Event) -> None:
        """Look and tell until `stop`; what has begun by then is brought to its end."""
        while not stop.is_set():
            begun, rest = self.monotonic(), REST
            try:
                if not self.usable():
                    self._after = 0
                elif await self._step():
                    rest = REST_TELLING
            except StoreUnavailable as error:
                _log.warning("sweep.unavailable", detail=str(error))
                self._after = 0
            except Exception:
                # Whatever it was, the next round must come: senders would be left in the dark.
                _log.exception("sweep.error")
                self._after = 0
            pause = (self.monotonic() - begun) * rest
            if not self._after:
                pause = max(pause, self.poll)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)

    async def _step(self) -> bool:
        """Look at a slice and tell of what is in it; whether there was any."""
        if not self._endings:
            self._endings = await asyncio.to_thread(self._find)
        if not self._endings:
            return False
        batch = Batch(self._endings)
        written = await asyncio.to_thread(self.settling.commit, batch)
        self._endings = []
        for one, state in zip(batch.endings, written.states, strict=True):
            self.events.tell(one, state, written.reports.get(one.claim.lease))
        return True

    def _find(self) -> list[Ending]:
        now, aged = self.clock(), self.steady()
        with self.database.read() as connection:
            found = overdue(
                connection,
                self.policy,
                now,
                aged=aged,
                longest=self.longest,
                after=self._after,
                limit=SLICE,
                most=MOST,
            )
            known = read_destinations(connection).by_domain if found.keys else {}
        claims = self.settling.commit(Batch(over=found.keys)).over if found.keys else ()
        self._after = found.last or 0
        return [
            ending(
                claim,
                {},
                error=claim.last_error or known.get(claim.domain, DestinationRow()).last_error,
                reason=OVERDUE,
                now=now,
                policy=self.policy,
                aged=aged,
            )
            for claim in claims
        ]
