"""An accepted message, ready to be made durable.

Its recipients are sorted into our mailboxes and other operators' domains; its body is a draft.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from mailstore.mailboxes.identifiers import MailboxType
from mailstore.sealed.draft import Draft
from relay.smtp.address import SmtpAddress
from relay.smtp.parameters import MailParameters, RcptParameters


class LocalRecipient(NamedTuple):  # a third of a dataclass's time; there may be hundreds
    """A recipient with a mailbox here, and its RCPT parameters."""

    mailbox_id: int
    address: SmtpAddress
    parameters: RcptParameters = RcptParameters()


@dataclass(frozen=True, slots=True)
class AcceptedMessage:
    """A message admitted and received, to be made durable.

    `sender` is None for the null reverse-path, `trace` is our Received field, `peer` the DN of the
    sending operator or `local`.

    `mailbox_type` is that of our mailbox that sent the message, None if none did.  `asked` has the
    RCPT parameters of remote recipients; a recipient without an entry has none.
    """

    id: str
    session: str
    peer: str
    sender: SmtpAddress | None
    received_at: datetime
    trace: bytes
    draft: Draft
    parameters: MailParameters = field(default_factory=MailParameters)
    local: tuple[LocalRecipient, ...] = ()
    remote: Mapping[str, tuple[SmtpAddress, ...]] = field(default_factory=dict)
    mailbox_type: MailboxType | None = None
    asked: Mapping[SmtpAddress, RcptParameters] = field(default_factory=dict)


# A message, and the receipt that was asked for: it becomes durable with the message, or neither.
WithReceipt = tuple[AcceptedMessage, AcceptedMessage | None]
