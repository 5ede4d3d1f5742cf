"""Quota of a sending mailbox in local submission: checked, counted, and refusals noted.

A message counts in the transaction that accepts it.  The look before it is read spares the store a
body that would be refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.mailboxes.sent_counts import SentCount, count_refused, count_sent, sent_in_hour
from relay.acceptance.group_commit import Record
from relay.policy.sending_limits import SendingLimit, excess, never_fits
from relay.smtp.address import SmtpAddress
from relay.smtp.errors import SmtpError, StoreDeferred
from relay.smtp.reply import Reply


class OverLimit(SmtpError):
    """The mailbox has sent its share of this hour, or the message is more than a share."""


@dataclass(frozen=True, slots=True)
class SendingQuota:
    """Quota of a mailbox for one message to so many `recipients`."""

    database: Database
    mailbox_id: int
    type: MailboxType
    limit: SendingLimit
    recipients: int
    clock: Callable[[], datetime]

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
        """Note a refusal: for the alarm and the listing, and in the journal."""
        try:
            with self.database.write() as connection:
                count_refused(connection, self.mailbox_id, self.clock())
        except StoreUnavailable as error:
            raise StoreDeferred(str(error)) from error
        record(
            "submission.limited",
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
