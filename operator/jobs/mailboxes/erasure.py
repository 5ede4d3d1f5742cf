"""Erasure of the content of deleted mailboxes, once their time of grace is over.

Each batch has a row in the audit trail with its numbers, in its own transaction: they add up to
what was erased, also after a kill in the middle. So has the erasure of a team's shared password
whose grace is over.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog
from sqlalchemy import Connection

from foundation.journal.writer import Journal
from mailstore.audit.event import JOB_ACTOR, AuditEvent
from mailstore.audit.trail import AuditTrail
from mailstore.db.database import Database
from mailstore.mailboxes.erasure import DueMailbox, due_mailboxes, erase_batch
from mailstore.mailboxes.sent_counts import drop_old
from mailstore.rights.mailbox_endings import end_access
from mailstore.rights.team_moves import erase_outdated

from ...assembly.clock import utc_now
from ..rounds import JobRounds

_log = structlog.get_logger(__name__)

JOB: Final = "mailbox-erasure"
ROUND_SECONDS: Final = 3600.0


@dataclass(slots=True)
class MailboxErasureJob:
    """Rounds over deleted mailboxes.  While the clock is `in_doubt`, nothing is erased."""

    database: Database
    trail: AuditTrail
    journal: Journal
    interval: float = ROUND_SECONDS
    in_doubt: Callable[[], bool] = lambda: False
    rounds: JobRounds = field(default_factory=JobRounds)
    _ending: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Run a round every `interval` seconds until cancelled."""
        try:
            await self.rounds.repeat(JOB, "mailbox.unerased", self.erase, self.interval)
        finally:
            self._ending = True  # stops the thread of a round in progress

    def erase(self) -> None:
        """Erase all that is due now, old counts of sent mail, and shared passwords that are over.

        Raises StoreUnavailable.
        """
        if self.in_doubt():
            return
        with self.database.write() as connection:
            drop_old(connection, utc_now())
            self._erase_passwords(connection)
        with self.database.read() as connection:
            due = due_mailboxes(connection, utc_now())
        for mailbox in due:
            if not self._erase(mailbox):
                return

    def _erase_passwords(self, connection: Connection) -> None:
        now = utc_now()
        events = [
            AuditEvent(
                at=now,
                event="team.grace_ended",
                actor=JOB_ACTOR,
                tenant=move.tenant_id,
                mailbox=move.mailbox,
                facts={"grace_until": move.grace_until},
            )
            for move in erase_outdated(connection, now)
        ]
        if events:
            self.trail.append(connection, events)

    def _erase(self, mailbox: DueMailbox) -> bool:
        """Erase one mailbox; False if the round has to end."""
        entries = messages = 0
        while not (self._ending or self.in_doubt()):
            with self.database.write() as connection:
                batch = erase_batch(connection, mailbox.id, utc_now())
                if batch is None:
                    return True
                if batch.done:
                    # An administrator may have asked for access since the deletion.
                    end_access(connection, mailbox.id, utc_now())
                event = AuditEvent(
                    at=utc_now(),
                    event="mailbox.erased" if batch.done else "mailbox.erasing",
                    actor=JOB_ACTOR,
                    tenant=mailbox.tenant_id,
                    mailbox=mailbox.address,
                    facts={"entries": batch.entries, "messages": batch.messages},
                )
                self.trail.append(connection, [event])
            entries, messages = entries + batch.entries, messages + batch.messages
            if batch.done:
                facts = {"entries": entries, "messages": messages}
                self.journal.record("mailbox.erased", mailbox=mailbox.address, **facts)
                _log.info("mailbox.erased", **facts)
                return True
        return False
