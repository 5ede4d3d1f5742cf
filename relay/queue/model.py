"""Values of the outbound queue: deliveries, leases, destinations.  Pure.

A delivery is one message for one destination domain, with its recipients there.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from foundation.unreadable_text import UnreadableText
from mailstore.mailboxes.identifiers import MailboxType
from relay.smtp.envelope import EnvelopeRecipient
from relay.smtp.parameters import RcptParameters

ALL: Final = "*"  # row of `destinations` that stands for all destinations
LEASE: Final = timedelta(minutes=30)  # length of a lease; renewed during its attempt
PROBE: Final = timedelta(minutes=2)  # time for one probe; others send nothing to that destination


class Traffic(StrEnum):
    """Class of traffic: mail of people goes before mail of programs (APP mailboxes)."""

    PERSON = "person"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class QueueItem:
    """A message to queue, for its recipients at one domain.

    `mailbox_type`: type of our mailbox that sent it.  `asked`: DSN parameters of RCPT, by address.
    """

    message_id: str
    domain: str
    recipients: tuple[str, ...]
    smtputf8: bool
    created_at: datetime
    sender: str = ""
    mailbox_type: MailboxType | None = None
    envid: str | None = None
    ret: str | None = None
    asked: Mapping[str, RcptParameters] = field(default_factory=dict)


class Lease(NamedTuple):
    """Name of a lease: number of its delivery, and a token that no other lease has.

    A number alone is not enough: after a fail-over that lost rows, the database gives numbers
    again.
    """

    id: int
    token: str


def new_token() -> str:
    """Token of a new lease: 32 hexadecimal digits, random, never repeated."""
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery leased to `owner`, with the data for an attempt and its reports.

    `token`: token of the lease; empty if there never was a lease.
    """

    id: int
    owner: str
    message_id: str
    domain: str
    waiting: tuple[EnvelopeRecipient, ...]
    smtputf8: bool
    attempts: int
    created_at: datetime
    sender: str
    traffic: Traffic
    mailbox_type: str | None
    envid: str | None
    ret: str | None
    delay_told: bool
    last_error: str
    blob: str
    size: int
    trace: str
    unknown_outcomes: int = 0
    token: str = ""

    @property
    def lease(self) -> Lease:
        """Name of the lease, for each renewal and settlement."""
        return Lease(self.id, self.token)

    @property
    def recipients(self) -> tuple[str, ...]:
        """Addresses of the waiting recipients."""
        return tuple(one.address for one in self.waiting)

    @property
    def readable(self) -> bool:
        """Whether a key was at hand for each sealed value; else nothing can be done with it."""
        sealed = [self.sender, self.envid]
        for one in self.waiting:
            sealed += (one.address, one.orcpt)
        return not any(isinstance(value, UnreadableText) for value in sealed)


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A delivery that a hold rule held when it was queued, and the reason of the rule."""

    id: int
    message_id: str
    domain: str
    reason: str


@dataclass(frozen=True, slots=True)
class Due:
    """A due delivery; `fresh`: no attempt was made yet."""

    id: int
    traffic: Traffic
    domain: str
    sender: str
    fresh: bool


@dataclass(frozen=True, slots=True)
class Newest:
    """The deliveries that became due last: `found` without held mail, `numbers` with it.

    `full`: there may be more.
    """

    found: Sequence[Due] = ()
    numbers: frozenset[int] = frozenset()
    full: bool = False


@dataclass(frozen=True, slots=True)
class DestinationRow:
    """Row of a destination: whether it is paused, and whether it is dead.

    `failures`: deaths and failed probes since the last success.  `dead_until`: time of the next
    probe.
    """

    paused: bool = False
    failures: int = 0
    dead_until: datetime | None = None
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class DestinationTable:
    """Rows of all destinations by domain; `all_paused`: the whole queue is paused."""

    by_domain: Mapping[str, DestinationRow]
    all_paused: bool


@dataclass(frozen=True, slots=True)
class Visit:
    """A read of one destination, for one class, from the sender after `after` on."""

    traffic: Traffic
    domain: str
    after: str | None


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """Result of one read of the queue (`relay.queue.due.read_queue`).

    `known`: rows of the destinations; None if not asked for, and `newest` is empty then.
    `visited`: the last sender read at each visit; None if there are no more senders.
    `destinations`: destinations with waiting mail, by class; None if not asked for.
    """

    known: DestinationTable | None
    newest: Newest
    visited: Mapping[Visit, str | None]
    found: Sequence[Due]
    destinations: Mapping[Traffic, Sequence[str]] | None
