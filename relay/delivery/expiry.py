"""Expiry scan: finds late or expired mail that no attempt will report in time.

Mail for a dead destination is not tried message by message, and a long backlog may delay the
attempt longer than a sender should stay uninformed.  So the scan reads the queue by number, some
thousands of rows per step, and begins again at the end.  Each step is followed by a rest in
proportion to its duration: a million deliveries are scanned in under a minute, and delivery goes
on.
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
from relay.delivery.iteration_commit import IterationCommitter
from relay.queue.attempt_result import AttemptResult, attempt_result
from relay.queue.destinations import read_destinations
from relay.queue.due import find_late_or_expired
from relay.queue.model import DestinationRow
from relay.queue.retry import RetryPolicy
from relay.smtp.failure_reason import FailureReason

_log = structlog.get_logger(__name__)

SLICE: Final = 5000  # deliveries read per step
MAX_SETTLED: Final = 50  # deliveries settled per step: other writers wait for the transaction
REST: Final = 19.0  # rest after a step, in durations of that step
REST_TELLING: Final = 0.25  # the same after a step that settled deliveries


@dataclass(slots=True)
class ExpirySweeper:
    """Scans the queue and settles late and expired mail, until stopped.

    `poll`: shortest time between two scans, in seconds.  `usable`: whether mail may expire; never
    without a white list.  `steady`: steady clock, for the age of mail.  `longest`: longest wait for
    a probe of a dead destination.  `monotonic`: measures work and rest.
    """

    database: Database
    committer: IterationCommitter
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
        """Scan until `stop`; a step in progress is completed."""
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
                # The next scan must come after any error, or senders would stay uninformed.
                _log.exception("sweep.error")
                self._after = 0
            pause = (self.monotonic() - begun) * rest
            if not self._after:
                pause = max(pause, self.poll)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)

    async def _step(self) -> bool:
        """Read a slice and settle its deliveries; return whether there were any."""
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
        now, steady_now = self.clock(), self.steady()
        with self.database.read() as connection:
            found = find_late_or_expired(
                connection,
                self.policy,
                now,
                steady_now=steady_now,
                longest=self.longest,
                after=self._after,
                slice_size=SLICE,
                limit=MAX_SETTLED,
            )
            known = read_destinations(connection).by_domain if found.keys else {}
        claims = self.committer.lease_without_attempt(found.keys) if found.keys else ()
        self._after = found.last or 0
        return [
            attempt_result(
                claim,
                {},
                error=claim.last_error or known.get(claim.domain, DestinationRow()).last_error,
                reason=FailureReason.OVERDUE,
                now=now,
                policy=self.policy,
                steady_now=steady_now,
            )
            for claim in claims
        ]
