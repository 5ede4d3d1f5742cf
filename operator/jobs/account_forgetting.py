"""Erasing what is kept about persons whose accounts were closed long ago (docs/data-protection.md).

Each account and its audit row are in one transaction.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from mailstore.accounts.forgetting import forget_closed
from mailstore.audit.event import JOB_ACTOR, AuditEvent
from mailstore.audit.trail import AuditTrail
from mailstore.db.database import Database

from .rounds import JobRounds

_log = structlog.get_logger(__name__)

JOB: Final = "account-forgetting"
ROUND_SECONDS: Final = 86_400.0


@dataclass(slots=True)
class AccountForgetting:
    """Rounds over the accounts.  While the clock is `in_doubt`, nothing is erased."""

    database: Database
    trail: AuditTrail
    keep: timedelta
    clock: Callable[[], datetime]
    in_doubt: Callable[[], bool] = lambda: False
    interval: float = ROUND_SECONDS
    rounds: JobRounds = field(default_factory=JobRounds)
    _ending: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Run a round every `interval` seconds until cancelled."""
        try:
            await self.rounds.repeat(JOB, "accounts.unforgotten", self.forget_all, self.interval)
        finally:
            self._ending = True  # stops the thread of a round in progress

    def forget_all(self) -> int:
        """Forget all that are due; returns their number.  Blocks.  Raises StoreUnavailable."""
        number = 0
        while not self._ending and not self.in_doubt():
            now = self.clock()
            with self.database.write() as connection:
                done = forget_closed(connection, now - self.keep)
                events = [
                    AuditEvent(
                        at=now,
                        event="account.forgotten",
                        actor=JOB_ACTOR,
                        subject=login,
                        tenant=tenant,
                    )
                    for login, tenant in done
                ]
                if events:
                    self.trail.append(connection, events)
            if not done:
                break
            number += len(done)
        if number:
            _log.info("accounts.forgotten", accounts=number)
        return number
