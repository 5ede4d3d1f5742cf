"""A message that was accepted, as it is made durable.

Its recipients are sorted already into our mailboxes and other operators' domains; its body is a
draft.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from mailstore.mailboxes.identifiers import MailboxType
from mailstore.sealed.draft import Draft
from relay.smtp.address import Address
from relay.smtp.parameters import MailParameters, RcptParameters


class LocalRecipient(NamedTuple):  # a third of a dataclass's time, for each of hundreds
    """A recipient with a mailbox here, and what was asked for it."""

    mailbox_id: int
    address: Address
    parameters: RcptParameters = RcptParameters()


@dataclass(frozen=True, slots=True)
class AcceptedMessage:
    """A message admitted and received, to be made durable.

    `sender` is None for the null reverse-path, `trace` our Received field, `peer` the DN of the
    operator that sent it or `local`.

    `mailbox_type` is that of the mailbox of ours that sent it, None if none did; `asked` has what
    was asked for remote recipients, of whom those without an entry asked for nothing.
    """

    id: str
    session: str
    peer: str
    sender: Address | None
    received_at: datetime
    trace: bytes
    draft: Draft
    parameters: MailParameters = field(default_factory=MailParameters)
    local: tuple[LocalRecipient, ...] = ()
    remote: Mapping[str, tuple[Address, ...]] = field(default_factory=dict)
    mailbox_type: MailboxType | None = None
    asked: Mapping[Address, RcptParameters] = field(default_factory=dict)


# A message, and the receipt that was asked for: it becomes durable with the message, or neither.
WithReceipt = tuple[AcceptedMessage, AcceptedMessage | None]
