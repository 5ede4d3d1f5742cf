"""Expiry scan: finds mail that no attempt will tell of in time, late unannounced or expired.

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
from relay.delivery.turn_commit import TurnCommitter
from relay.queue.attempt_result import AttemptResult, attempt_result
from relay.queue.destinations import read_destinations
from relay.queue.due import overdue
from relay.queue.model import DestinationRow
from relay.queue.retry import RetryPolicy
from relay.smtp.failure_reason import FailureReason

_log = structlog.get_logger(__name__)

SLICE: Final = 5000  # deliveries looked at in one step
MOST: Final = 50  # of them told of in one step: a transaction that others wait for
REST: Final = 19.0  # times what a step took is rested after it
REST_TELLING: Final = 0.25  # the same where there was something to tell


@dataclass(slots=True)
class ExpirySweeper:
    """Settles what it finds, until stopped.

    At least `poll` seconds lie between two rounds; `usable` says whether mail may be given up: not
    without a white list.  `steady` is the clock by which mail grows old, `longest` the longest wait
    for the probe of a dead destination.  Work and rest are measured by `monotonic`.
    """

    database: Database
    committer: TurnCommitter
    events: DeliveryEvents
    policy: RetryPolicy
    clock: Callable[[], datetime]
    steady: Callable[[], datetime]
    poll: float
    usable: Callable[[], bool]
    longest: timedelta
    monotonic: Callable[[], float] = time.monotonic
    _after: int = field(default=0, init=False)
    _results: list[AttemptResult] = field(default_factory=list, init=False)

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
        if not self._results:
            self._results = await asyncio.to_thread(self._find)
        if not self._results:
            return False
        recorded = await asyncio.to_thread(self.committer.record, self._results)
        self._results = []
        for one in recorded:
            self.events.tell(one)
        return True

    def _find(self) -> list[AttemptResult]:
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
        claims = self.committer.expire(found.keys) if found.keys else ()
        self._after = found.last or 0
        return [
            attempt_result(
                claim,
                {},
                error=claim.last_error or known.get(claim.domain, DestinationRow()).last_error,
                reason=FailureReason.OVERDUE,
                now=now,
                policy=self.policy,
                aged=aged,
            )
            for claim in claims
        ]
