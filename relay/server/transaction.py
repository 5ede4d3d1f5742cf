"""A mail transaction, as the session gathers it, and the message made from it."""

from dataclasses import dataclass, field
from datetime import datetime

from mailstore.sealed.draft import Draft
from relay.acceptance.message import AcceptedMessage, LocalRecipient
from relay.policy.admission import Peer
from relay.server.data import MessageReceiver
from relay.smtp.address import SmtpAddress
from relay.smtp.headers import TraceFacts, received_field
from relay.smtp.parameters import MailParameters


@dataclass(slots=True)
class Transaction:
    """The transaction between MAIL and the end of the message (RFC 5321 §3.3).

    `id` is the message's; `body` is None before its first octets; `begun`: at MAIL, by the event
    loop's clock.
    """

    id: str
    sender: SmtpAddress | None
    parameters: MailParameters
    begun: float
    local: dict[int, LocalRecipient] = field(default_factory=dict)
    body: MessageReceiver | None = None

    @property
    def recipients(self) -> int:
        """The number of accepted recipients."""
        return len(self.local)

    def add(self, recipient: LocalRecipient) -> None:
        """Accept a recipient; a mailbox named twice gets the message once."""
        self.local.setdefault(recipient.mailbox_id, recipient)

    def abandon(self) -> None:
        """Drop the draft: no part of the transaction was acknowledged."""
        if self.body is not None:
            self.body.draft.discard()
            self.body = None


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """The facts of a session for the trace field of its message."""

    session: str
    hostname: str
    helo: str
    address: str
    peer: Peer


def compose(
    facts: SessionFacts, transaction: Transaction, draft: Draft, now: datetime
) -> AcceptedMessage:
    """The message of a peer's transaction, its content in `draft`."""
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
    return AcceptedMessage(
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
