"""Ends of assignments by time: watchers of a mailbox learn that a message is free again.

Nobody waits for this job: an assignment is worth nothing once its time is over
(`mailstore.teams.assignments`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog
from sqlalchemy import Connection

from mailstore.accounts.accounts import accounts_by_id
from mailstore.audit.event import JOB_ACTOR, AuditEvent
from mailstore.audit.trail import AuditTrail
from mailstore.db.database import Database
from mailstore.teams.endings import DueMailbox, due_mailboxes, expire
from mailstore.teams.model import Assignment, End

from ..rounds import JobRounds

_log = structlog.get_logger(__name__)

JOB: Final = "assignment-expiry"
ROUND_SECONDS: Final = 60.0


@dataclass(slots=True)
class AssignmentExpiry:
    """Rounds over assignments.  While the clock is `in_doubt`, none is ended."""

    database: Database
    trail: AuditTrail
    clock: Callable[[], datetime]
    in_doubt: Callable[[], bool] = lambda: False
    interval: float = ROUND_SECONDS
    rounds: JobRounds = field(default_factory=JobRounds)
    _ending: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Run a round every `interval` seconds until cancelled."""
        try:
            await self.rounds.repeat(JOB, "assignments.unended", self.expire_all, self.interval)
        finally:
            self._ending = True  # stops the thread of a round in progress

    def expire_all(self) -> int:
        """End all that are due; returns their number.  Blocks.  Raises StoreUnavailable."""
        if self.in_doubt():
            return 0
        with self.database.read() as connection:
            due = due_mailboxes(connection, self.clock())
        number = sum(self._expire(mailbox) for mailbox in due)
        if number:
            _log.info("assignments.ended", assignments=number)
        return number

    def _expire(self, mailbox: DueMailbox) -> int:
        number = 0
        while not (self._ending or self.in_doubt()):
            now = self.clock()
            with self.database.write() as connection:
                ended = expire(connection, mailbox.id, now)
                if not ended:
                    break
                self.trail.append(connection, _events(connection, mailbox, ended, now))
            number += len(ended)
        return number


def _events(
    connection: Connection, mailbox: DueMailbox, ended: list[Assignment], now: datetime
) -> list[AuditEvent]:
    logins = accounts_by_id(connection, [one.account_id for one in ended])
    return [
        AuditEvent(
            at=now,
            event="message.released",
            actor=JOB_ACTOR,
            tenant=mailbox.tenant_id,
            mailbox=mailbox.address,
            message=one.message_id,
            subject=logins[one.account_id].login,
            facts={"why": End.EXPIRED.value},
        )
        for one in ended
    ]
