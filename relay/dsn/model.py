"""Facts of a DSN: the message, its recipients, the action for each."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from relay.smtp.failure_reason import Cause
from relay.smtp.parameters import DsnReturn


class Action(StrEnum):
    """Action for one recipient (RFC 3464 §2.3.3), in the order of the human part."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"


@dataclass(frozen=True, slots=True)
class ReportedRecipient:
    """One recipient: address, action, enhanced status code (RFC 3463).

    `orcpt`: as RCPT gave it.  `diagnostic`: reply of the server that decided, or our own error.
    `remote`: name of that server.  Reply and name come from the peer, unchecked.
    `last_attempt`, `retry_until`: aware times; `retry_until` only for a delay.
    """

    address: str
    action: Action
    status: str
    orcpt: str | None
    diagnostic: str = ""
    cause: Cause = Cause.OTHER
    remote: str = ""
    last_attempt: datetime | None = None
    retry_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """Facts of a DSN.

    `hostname`: our own.
    `message_id`: our id of the DSN, newer than the original message; source of the boundary and of
    the Message-ID.
    `domain`: our domain whose postmaster writes the DSN.
    `to`: envelope sender of the original.
    `at`, `arrival`: times of the DSN and of the original, aware.
    `envid`: as MAIL gave it.
    `headers`: header section of the original.
    `smtputf8`: the original came with SMTPUTF8, so the DSN may be sent with it.
    `eight_bit`: the original may have octets beyond ASCII.
    `returned`: FULL if the whole original is returned (RFC 3461 §4.3).
    `notice_of`: set in a notice to our postmaster: id of the message whose failure has no other
    reader.
    """

    hostname: str
    message_id: str
    domain: str
    to: str
    at: datetime
    arrival: datetime
    envid: str | None
    recipients: tuple[ReportedRecipient, ...]
    headers: bytes
    smtputf8: bool = False
    eight_bit: bool = True
    returned: DsnReturn = DsnReturn.HDRS
    notice_of: str = ""
