"""One mail transaction as the session gathers it, and the message it turns into.

Between layers the facts travel as `Submission`: an envelope whose recipients are already sorted
into our mailboxes and other operators' domains, with the draft of its body.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from mailstore.drafts import Draft
from mailstore.identifiers import MailboxType
from relay.address import Address
from relay.admission import Peer
from relay.headers import TraceFacts, received_field
from relay.parameters import MailParameters, RcptParameters
from relay.receiving import Body


class LocalRecipient(NamedTuple):  # a third of a dataclass's time, for each of hundreds
    """A recipient with a mailbox here, and what was asked for it."""

    mailbox_id: int
    address: Address
    parameters: RcptParameters = RcptParameters()


@dataclass(slots=True)
class Transaction:
    """The transaction under way between MAIL and the end of the message (RFC 5321 §3.3).

    `id` is the message's; `body` is there once its octets come.
    """

    id: str
    sender: Address | None
    parameters: MailParameters
    local: dict[int, LocalRecipient] = field(default_factory=dict)
    body: Body | None = None

    @property
    def recipients(self) -> int:
        """How many recipients have been accepted."""
        return len(self.local)

    def add(self, recipient: LocalRecipient) -> None:
        """Accept a recipient; a mailbox named twice has the message once."""
        self.local.setdefault(recipient.mailbox_id, recipient)

    def abandon(self) -> None:
        """Give back what it holds: nothing of it was acknowledged."""
        if self.body is not None:
            self.body.draft.discard()
            self.body = None


@dataclass(frozen=True, slots=True)
class Submission:
    """A message admitted and received, to be made durable.

    `sender` is None for the null reverse-path, `trace` our Received field, `peer` the DN of the
    operator that sent it or `local`.  `report` becomes durable with it, or neither does.

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
    report: "Submission | None" = None
    mailbox_type: MailboxType | None = None
    asked: Mapping[Address, RcptParameters] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What the trace of a message says of the session that brought it."""

    session: str
    hostname: str
    helo: str
    address: str
    peer: Peer


def compose(
    facts: SessionFacts, transaction: Transaction, draft: Draft, now: datetime
) -> Submission:
    """The submission of a peer's transaction whose message is in `draft`."""
    shown = facts.peer.certificate
    peer = str(shown.subject) if shown else ""
    trace = TraceFacts(
        helo=facts.helo,
        address=facts.address,
        hostname=facts.hostname,
        protocol="UTF8SMTPS" if transaction.parameters.smtputf8 else "ESMTPS",
        message=transaction.id,
        session=facts.session,
        at=now,
        tls_version=facts.peer.tls_version,
        cipher=facts.peer.cipher,
        peer=peer,
    )
    return Submission(
        id=transaction.id,
        session=facts.session,
        peer=peer,
        sender=transaction.sender,
        received_at=now,
        trace=received_field(trace),
        draft=draft,
        parameters=transaction.parameters,
        local=tuple(transaction.local.values()),
    )
