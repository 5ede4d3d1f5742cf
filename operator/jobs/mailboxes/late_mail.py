"""Late mail: what reached a mailbox after its closing or deletion goes back to its sender.

A session that accepted a recipient just before the change delivers just after it (seconds later,
`relay.server.end_of_data`).  The peer got its 250, so we owe the sender a DSN: it is stored in the
transaction that removes the message from the mailbox, with a row in the audit trail.  Reports and
other mail without a sender stay where they are.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from foundation.journal.writer import Journal
from mailstore.audit.event import JOB_ACTOR, AuditEvent
from mailstore.audit.trail import AuditTrail
from mailstore.blobs.store import Store
from mailstore.folders.late import LateEntry, late_entries, remove_late
from mailstore.mailboxes.mailboxes import get_mailbox
from relay.dsn.writer import DsnWriter, Report
from relay.queue.model import Claim, Traffic
from relay.smtp.envelope import EnvelopeRecipient

from ..rounds import JobRounds

_log = structlog.get_logger(__name__)

JOB: Final = "late-mail"
ROUND_SECONDS: Final = 600.0
LOOK_BACK: Final = timedelta(days=2)  # from a closing to its last look, a long outage included
BATCH: Final = 50


@dataclass(frozen=True, slots=True)
class LateMail:
    """Rounds over late mail.  While the clock is `in_doubt`, all stays where it is."""

    store: Store
    dsn_writer: DsnWriter
    trail: AuditTrail
    journal: Journal
    clock: Callable[[], datetime]
    in_doubt: Callable[[], bool] = lambda: False
    interval: float = ROUND_SECONDS
    rounds: JobRounds = field(default_factory=JobRounds)

    async def run(self) -> None:
        """Run a round every `interval` seconds until cancelled."""
        await self.rounds.repeat(JOB, "late_mail.untold", self.round, self.interval)

    def round(self) -> int:
        """Give late mail back; returns the number of messages.  Blocks.  Raises StoreUnavailable.

        More than `BATCH` are left to the next round.
        """
        if self.in_doubt():
            return 0
        now, database = self.clock(), self.store.database
        with database.read() as connection:
            found = late_entries(connection, now - LOOK_BACK, BATCH)
        claims = {_claim(one).lease: one for one in found}
        reports = self.dsn_writer.compose_late([_claim(one) for one in found], now)
        done = 0
        for lease, report in reports.items():
            if report is not None:
                done += self._give_back(claims[lease], report, now)
        return done

    def _give_back(self, late: LateEntry, report: Report, now: datetime) -> bool:
        message = late.entry.message.id
        with self.store.database.write() as connection:
            if not remove_late(connection, late.entry):
                return False  # restored, or given back by another machine
            self.dsn_writer.insert(connection, [report], now)
            event = AuditEvent(
                at=now,
                event="mailbox.late_mail",
                actor=JOB_ACTOR,
                tenant=get_mailbox(connection, late.mailbox).tenant_id,
                mailbox=late.mailbox,
                message=message,
                facts={"report": report[0].id},
            )
            self.trail.append(connection, [event])
        facts = {"message": message, "mailbox": late.mailbox, "report": report[0].id}
        self.journal.record("mailbox.late_mail", **facts)
        _log.warning("mailbox.late_mail", message=message, report=report[0].id)
        return True


def _claim(late: LateEntry) -> Claim:
    """A delivery as the DSN writer knows it; its number is the entry's."""
    entry, message = late.entry, late.entry.message
    return Claim(
        id=entry.id,
        owner="",
        message_id=message.id,
        domain=late.mailbox.rpartition("@")[2],
        waiting=(EnvelopeRecipient(entry.recipient),),
        smtputf8=not (message.sender + entry.recipient).isascii(),
        attempts=0,
        created_at=message.received_at,
        sender=message.sender,
        traffic=Traffic.PERSON,
        mailbox_type=None,
        envid=None,
        ret=None,
        delay_told=False,
        last_error="",
        blob=message.blob,
        size=message.size,
        trace=message.trace,
    )
