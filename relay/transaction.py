"""One mail transaction as the session gathers it, and the message it turns into.

Between layers the facts travel as `Submission`: an envelope whose recipients are already sorted
into our mailboxes and other operators' domains, with the draft of its body.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mailstore.drafts import Draft
from relay.address import Address
from relay.parameters import MailParameters


@dataclass(frozen=True, slots=True)
class LocalRecipient:
    """A recipient with a mailbox here."""

    mailbox_id: int
    address: Address


@dataclass(slots=True)
class Transaction:
    """The transaction under way between MAIL and the end of DATA (RFC 5321 §3.3)."""

    sender: Address | None
    parameters: MailParameters
    local: dict[int, LocalRecipient] = field(default_factory=dict)

    @property
    def recipients(self) -> int:
        """How many recipients have been accepted."""
        return len(self.local)


@dataclass(frozen=True, slots=True)
class Submission:
    """A message admitted and received, to be made durable.

    `sender` is None for the null reverse-path, `trace` our Received field, `peer` the DN of the
    operator that sent it or `local`.
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
