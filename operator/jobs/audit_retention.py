"""Removal of old rows of the audit trail (`mailstore.audit.retention`)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from mailstore.audit.event import JOB_ACTOR
from mailstore.audit.keys import AuditKeys
from mailstore.audit.retention import prune
from mailstore.db.database import Database

from .rounds import JobRounds

_log = structlog.get_logger(__name__)

JOB: Final = "audit-retention"
ROUND_SECONDS: Final = 86_400.0


@dataclass(slots=True)
class AuditRetentionJob:
    """Rounds over the chains.  Rows older than `keep` are removed, as far as anchors cover them.

    While the clock is `in_doubt`, nothing is removed.  `damage`: rows that are not as they were
    written, which stay.
    """

    database: Database
    keys: AuditKeys
    keep: timedelta
    clock: Callable[[], datetime]
    in_doubt: Callable[[], bool] = lambda: False
    interval: float = ROUND_SECONDS
    damage: str = ""
    rounds: JobRounds = field(default_factory=JobRounds)
    _ending: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Run a round every `interval` seconds until cancelled."""
        try:
            await self.rounds.repeat(JOB, "audit.unpruned", self.round, self.interval)
        finally:
            self._ending = True  # stops the thread of a round in progress

    def round(self) -> None:
        """Remove what is old.  Blocks.  Raises StoreUnavailable."""
        if self.in_doubt():
            return
        damage, rows = [], 0
        for done in prune(
            self.database, self.keys, self.clock() - self.keep, self.clock, JOB_ACTOR
        ):
            rows += done.rows
            if done.problem:
                damage.append(f"chain {done.chain}: {done.problem}")
            if self._ending or self.in_doubt():
                break
        self.damage = "; ".join(damage)
        if rows:
            _log.info("audit.pruned", rows=rows)
