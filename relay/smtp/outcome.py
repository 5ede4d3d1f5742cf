"""What became of one recipient, from the SMTP client to the queue and the report.  Pure."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """State of a delivery or of one of its recipients."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recipient: delivered, failed for good or waiting; with the reply.

    `dsn` says that the peer offers DSN, so that it reports success to the sender itself;
    `too_many` that it takes no more recipients in this transaction; `unknown` that the recipient
    waits since the peer may have the message, and may not.
    """

    state: State
    reply: str
    dsn: bool = False
    too_many: bool = False
    unknown: bool = False
