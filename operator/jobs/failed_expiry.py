"""Removal of old failed deliveries from the queue (`relay.queue_admin.expiry`)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog

from foundation.journal.writer import Journal
from mailstore.db.database import Database
from relay.queue_admin.expiry import delete_failed

from ..assembly.clock import utc_now
from .rounds import JobRounds

_log = structlog.get_logger(__name__)

JOB: Final = "failed-expiry"
ROUND_SECONDS: Final = 3600.0


@dataclass(slots=True)
class FailedExpiryJob:
    """Rounds over the queue.  Failed deliveries older than `keep` are removed.

    While the clock is `in_doubt`, nothing is removed.
    """

    database: Database
    journal: Journal
    keep: timedelta
    interval: float = ROUND_SECONDS
    in_doubt: Callable[[], bool] = lambda: False
    rounds: JobRounds = field(default_factory=JobRounds)
    _ending: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Run a round every `interval` seconds until cancelled."""
        try:
            await self.rounds.repeat(JOB, "queue.unforgotten", self._forget, self.interval)
        finally:
            self._ending = True  # stops the thread of a round in progress

    def _forget(self) -> None:
        before, number = utc_now() - self.keep, 0
        if self.in_doubt():
            return
        try:
            for found in delete_failed(self.database, before):
                number += len(found)
                for one in found:
                    self.journal.record(
                        "queue.forgotten",
                        message=one.message_id,
                        delivery=one.id,
                        domain=one.domain,
                    )
                if self._ending or self.in_doubt():
                    break
        finally:
            if number:
                facts = {"deliveries": number, "before": before.isoformat(timespec="seconds")}
                self.journal.record("queue.forgotten", **facts)
                _log.info("queue.forgotten", **facts)
