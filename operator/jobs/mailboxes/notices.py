"""Notices of the operator into mailboxes here, stored in a transaction of their job."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from foundation.failpoints import failpoint
from mailstore.blobs.bodies import PreparedBody
from mailstore.blobs.store import Store
from relay.acceptance.group_commit import insert_rows
from relay.acceptance.message import AcceptedMessage, LocalRecipient
from relay.smtp.address import SmtpAddress, parse_address
from relay.submission.holder_notice import NoticeHead


@dataclass(frozen=True, slots=True)
class PreparedNotice:
    """A notice whose body is durable; its rows are not stored yet."""

    message: AcceptedMessage
    body: PreparedBody


@dataclass(frozen=True, slots=True)
class NoticeWriter:
    """Writes notices.  Without `postmaster` they come from the postmaster of the domain."""

    store: Store
    hostname: str
    postmaster: SmtpAddress | None
    new_id: Callable[[], str]

    def head(self, mailbox: str, now: datetime) -> NoticeHead:
        """Header of a new notice."""
        sender = self.postmaster or SmtpAddress("postmaster", parse_address(mailbox).domain)
        return NoticeHead(self.new_id(), mailbox, str(sender), self.hostname, now)

    def prepare(self, head: NoticeHead, mailbox_id: int, octets: bytes) -> PreparedNotice:
        """Make the body durable, before the transaction.  Blocks.  Raises StoreUnavailable."""
        draft = self.store.blobs.draft()
        try:
            draft.write(octets)
        except BaseException:
            draft.discard()
            raise
        message = AcceptedMessage(
            id=head.message_id,
            session=head.message_id,
            peer="local",
            sender=None,
            received_at=head.at,
            trace=b"",
            draft=draft,
            local=(LocalRecipient(mailbox_id, parse_address(head.mailbox)),),
        )
        (body,) = self.store.blobs.prepare([draft])
        if isinstance(body, Exception):
            raise body
        failpoint("notice.prepared")
        return PreparedNotice(message, body)

    def insert(self, connection: Connection, notice: PreparedNotice) -> None:
        """Store the rows of a notice: it is in the mailbox once the transaction is committed."""
        insert_rows(
            self.store, connection, [(notice.message, notice.body)], notice.message.received_at
        )
        failpoint("notice.inserted")
