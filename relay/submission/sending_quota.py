"""Quota of a sending mailbox in local submission: checked, counted, and refusals noted.

The first refusal of a mailbox in an hour has a row in the audit trail, in the transaction of its
count; further ones are only counted, as a program may try a thousand times.

A message counts in the transaction that accepts it.  The look before it is read spares the store a
body that would be refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from mailstore.audit.event import AuditActor, AuditEvent, Result
from mailstore.audit.trail import AuditTrail
from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.mailboxes.sent_counts import (
    SentCount,
    address_and_tenant,
    count_refused,
    count_sent,
    sent_in_hour,
)
from relay.acceptance.group_commit import Record
from relay.policy.sending_limits import SendingLimit, excess, never_fits
from relay.smtp.address import SmtpAddress
from relay.smtp.errors import SmtpError, StoreDeferred
from relay.smtp.reply import Reply

LIMITED: Final = "submission.limited"


class OverLimit(SmtpError):
    """The mailbox has sent its share of this hour, or the message is more than a share."""


@dataclass(frozen=True, slots=True)
class RefusalTrail:
    """Audit trail of refused messages, and who sends."""

    trail: AuditTrail
    actor: AuditActor

    def append(self, connection: Connection, quota: "SendingQuota", why: str) -> None:
        """Add the row of a refusal, in the transaction of its count."""
        address, tenant = address_and_tenant(connection, quota.mailbox_id)
        event = AuditEvent(
            at=quota.clock(),
            event=LIMITED,
            actor=self.actor,
            result=Result.REFUSED,
            tenant=tenant,
            mailbox=address,
            facts={"type": quota.type.value, "recipients": quota.recipients, "why": why},
        )
        self.trail.append(connection, [event])


@dataclass(frozen=True, slots=True)
class SendingQuota:
    """Quota of a mailbox for one message to so many `recipients`."""

    database: Database
    mailbox_id: int
    type: MailboxType
    limit: SendingLimit
    recipients: int
    clock: Callable[[], datetime]
    refusals: RefusalTrail | None = None

    def check(self) -> None:
        """Return if the message has room now; blocks.  Raises OverLimit, StoreDeferred."""
        try:
            with self.database.read() as connection:
                sent = sent_in_hour(connection, self.mailbox_id, self.clock())
        except StoreUnavailable as error:
            raise StoreDeferred(str(error)) from error
        self._judge(sent)

    def take(self, connection: Connection) -> None:
        """Count the message, in the transaction that accepts it.  Raises OverLimit."""
        self._judge(count_sent(connection, self.mailbox_id, self.clock(), self.recipients))

    def refused(self, why: OverLimit, sender: SmtpAddress, who: str, record: Record) -> None:
        """Note a refusal: for the alarm and the listing, in the trail, and in the journal."""
        try:
            with self.database.write() as connection:
                number = count_refused(connection, self.mailbox_id, self.clock())
                if number == 1 and self.refusals is not None:
                    self.refusals.append(connection, self, why.reply.text)
        except StoreUnavailable as error:
            raise StoreDeferred(str(error)) from error
        record(
            LIMITED,
            sender=sender.masked,
            type=self.type.value,
            recipients=self.recipients,
            why=why.reply.text,
            who=who,
        )

    def _judge(self, sent: SentCount) -> None:
        if why := never_fits(self.limit, self.recipients):
            # For good: a client that tries again each hour would never tell its user.
            raise OverLimit(Reply(550, "5.5.3", f"Sending limit: {why}, send it to fewer"))
        if why := excess(self.limit, sent, self.recipients):
            raise OverLimit(Reply(452, "4.5.3", f"Sending limit: {why}, try again next hour"))
