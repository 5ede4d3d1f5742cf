"""What the outbound queue holds and what is read of it: deliveries, leases, destinations.  Pure.

A delivery is one message for one destination domain, with the recipients it has there.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from mailstore.mailboxes.identifiers import MailboxType
from relay.smtp.envelope import EnvelopeRecipient
from relay.smtp.parameters import RcptParameters

ALL: Final = "*"  # the row of `destinations` that stands for all of them
LEASE: Final = timedelta(minutes=30)  # of a delivery; renewed while its attempt lasts
PROBE: Final = timedelta(minutes=2)  # for which others keep away from a destination being probed


class Traffic(StrEnum):
    """Who wrote a message: people do not wait for what programs (APP mailboxes) send."""

    PERSON = "person"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class QueueItem:
    """A message to be sent to the recipients it has at one domain.

    `mailbox_type` is that of the mailbox of ours that sent it; `asked` has what was asked for
    recipients, by address.
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
    """By what a lease is named: its delivery's number, and a token that no other lease has.

    A number alone may mean another delivery by now: one that a fail-over has lost is given again.
    """

    id: int
    token: str


def new_token() -> str:
    """The token of a lease to be, 32 hexadecimal digits that never come again."""
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery leased to `owner`, with what an attempt and its reports need.

    `token` is that of the lease, empty if it never had one.
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
        """The name of the lease, for every renewal and settlement."""
        return Lease(self.id, self.token)

    @property
    def recipients(self) -> tuple[str, ...]:
        """The addresses that still wait."""
        return tuple(one.address for one in self.waiting)


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A delivery that a rule held as it was queued, and the rule's reason."""

    id: int
    message_id: str
    domain: str
    reason: str


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that may be tried; `fresh` if it never was."""

    id: int
    traffic: Traffic
    domain: str
    sender: str
    fresh: bool


@dataclass(frozen=True, slots=True)
class Newest:
    """The deliveries that became due last, but those that are held; the numbers of all of them.

    `full` says that there may be more.
    """

    found: Sequence[Due] = ()
    numbers: frozenset[int] = frozenset()
    full: bool = False


@dataclass(frozen=True, slots=True)
class DestinationRow:
    """A row: whether it is paused, and how dead it is."""

    paused: bool = False
    failures: int = 0
    dead_until: datetime | None = None
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class DestinationTable:
    """All rows by domain, and whether everything is paused."""

    by_domain: Mapping[str, DestinationRow]
    all_paused: bool


@dataclass(frozen=True, slots=True)
class Visit:
    """A destination to be read for a class, from the sender after `after` on."""

    traffic: Traffic
    domain: str
    after: str | None


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """What one read of the queue brought (`relay.queue.due.read_queue`).

    `known` are the destinations' rows, None unless they were asked for; `newest` is empty then.
    `visited` has the sender at which each visit ended, None if it came to the last one.  `lanes`
    are the destinations with waiting mail by class, None unless they were asked for.
    """

    known: DestinationTable | None
    newest: Newest
    visited: Mapping[Visit, str | None]
    found: Sequence[Due]
    lanes: Mapping[Traffic, Sequence[str]] | None
