"""What a delivery report tells, as facts: of which message, to whom, and what became of whom."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from relay.smtp.failure_reason import Cause
from relay.smtp.parameters import DsnReturn


class Action(StrEnum):
    """What became of the message for one recipient (RFC 3464 §2.3.3), in the order of the words."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"


@dataclass(frozen=True, slots=True)
class ReportedRecipient:
    """One recipient: its address, what became of it, and the enhanced status code (RFC 3463).

    `orcpt` is as RCPT gave it; `diagnostic` is the reply of the server that decided, if another, or
    what we found ourselves, and `remote` the name of that server; both are the peer's, unchecked.
    `last_attempt` is aware, as is `retry_until`, which a delay alone has.
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
    """What a report tells.

    `hostname` is ours; `message_id` is our id of the report, made after the message came, which is
    what makes its boundary and its Message-ID; `domain` is the one of ours whose postmaster writes
    it; `to` the envelope sender of the message; `at` the time of the report and `arrival` that of
    the message, both aware; `envid` as MAIL gave it; `headers` the header section of the message;
    `smtputf8` whether it came with SMTPUTF8, and the report may be sent with it; `eight_bit`
    whether its octets may be beyond ASCII.  `returned` is FULL where the whole message goes back
    (RFC 3461 §4.3).  `notice_of` is set in what goes to our postmaster instead of a sender: the id
    of the message that nobody else hears of.
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
