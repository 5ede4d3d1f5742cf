"""The filter of deliveries, the same for every command on the queue.

Pure.  In patterns `*` stands for any characters and `?` for a single one; case does not count (for
letters beyond ASCII: where the database knows them).  A pattern without either matches exactly, and
`<>` is the null sender.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, func, or_

from foundation.ins import PATIENT_DOMAIN
from mailstore.db.address_domain import address_domain
from mailstore.db.sealed_columns import is_address, raw
from relay.queue.schema import deliveries, delivery_recipients
from relay.smtp.outcome import State

NULL_SENDER: Final = "<>"
_WILD: Final = re.compile(r"[*?]")
_LIKE: Final[Mapping[str, str]] = {"*": "%", "?": "_", "%": "/%", "_": "/_", "/": "//"}

# Not the bare column: SQLite would search each batch in the index of due deliveries, which begins
# with the state, and sort a million rows by number for each.  So rows are walked by number.
_STATE: Final = func.coalesce(deliveries.c.state, "")


class DeliveryStatus(StrEnum):
    """State of a delivery as an operator sees it."""

    WAITING = "waiting"
    HELD = "held"
    FAILED = "failed"

    @property
    def condition(self) -> ColumnElement[bool]:
        """The rows in this state: a failed delivery is failed, whether it was held or not."""
        if self is DeliveryStatus.FAILED:
            return _STATE == State.FAILED
        held = deliveries.c.held
        is_held = held.is_not(None) if self is DeliveryStatus.HELD else held.is_(None)
        return and_(_STATE == State.WAITING, is_held)

    @staticmethod
    def of(state: str, held: str | None) -> "DeliveryStatus":
        """The state of a row."""
        if state == State.FAILED:
            return DeliveryStatus.FAILED
        return DeliveryStatus.WAITING if held is None else DeliveryStatus.HELD


def like(column: ColumnElement[str], pattern: str) -> ColumnElement[bool]:
    """Whether a column, such as a domain or an address, matches a pattern; on both dialects.

    The local part of a patient's address is sealed: found as a whole, or by `*` alone.
    """
    if pattern == NULL_SENDER:
        return column == ""
    if not _WILD.search(pattern):
        return is_address(column, pattern)
    return raw(column).ilike("".join(_LIKE.get(one, one) for one in pattern), escape="/")


def masked(pattern: str) -> str:
    """The pattern as events may show it, without any part of a patient's INS (DOMAIN §1.5).

    If the pattern matches patients' addresses, a local part with a digit may be part of an INS.
    """
    local, at, domain = pattern.rpartition("@")
    if not at:
        local, domain = pattern, "*"
    hides = fnmatchcase(PATIENT_DOMAIN, domain.lower()) and any(map(str.isdigit, local))
    return f"***{at}{domain if at else ''}" if hides else pattern


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Conditions on deliveries: all given conditions must hold; none given means all deliveries.

    `recipient` matches recipients without the message yet.  `ids` are numbers of deliveries,
    `messages` ids of messages: a match in either is enough.  `older` and `younger` are ages in the
    queue.  `of_domains`: domains of senders, in lower case; None for all mail.
    """

    domain: str | None = None
    sender: str | None = None
    recipient: str | None = None
    mailbox_type: str | None = None
    older: timedelta | None = None
    younger: timedelta | None = None
    ids: tuple[int, ...] = ()
    messages: tuple[str, ...] = ()
    state: DeliveryStatus | None = None
    of_domains: frozenset[str] | None = None

    def conditions(self, now: datetime) -> list[ColumnElement[bool]]:
        """SQL conditions on rows of `deliveries`; ages are counted from `now`."""
        d = deliveries.c
        found: list[ColumnElement[bool]] = []
        if self.domain is not None:
            # Domains are stored in lower case: an exact domain can use the index.
            exact = not _WILD.search(self.domain)
            found.append(d.domain == self.domain.lower() if exact else like(d.domain, self.domain))
        if self.sender is not None:
            found.append(like(d.sender, self.sender))
        if self.recipient is not None:
            r = delivery_recipients.c
            due = (r.delivery_id == d.id, r.state != State.DELIVERED)
            found.append(exists().where(*due, like(r.address, self.recipient)))
        if self.mailbox_type is not None:
            found.append(d.mailbox_type == self.mailbox_type)
        if self.older is not None:
            found.append(d.created_at <= now - self.older)
        if self.younger is not None:
            found.append(d.created_at > now - self.younger)
        if self.ids or self.messages:
            found.append(or_(d.id.in_(self.ids), d.message_id.in_(self.messages)))
        if self.state is not None:
            found.append(self.state.condition)
        if self.of_domains is not None:
            found.append(address_domain(d.sender).in_(self.of_domains))
        return found

    @property
    def texts(self) -> list[str]:
        """The conditions for people and events, masked; `all` if there are none."""
        facts: dict[str, str | None] = {
            "domain": self.domain,
            "sender": self.sender and masked(self.sender),
            "recipient": self.recipient and masked(self.recipient),
            "type": self.mailbox_type,
            "older": None if self.older is None else f"{self.older.total_seconds():g}s",
            "younger": None if self.younger is None else f"{self.younger.total_seconds():g}s",
            "id": ",".join([*map(str, self.ids), *self.messages]) or None,
            "state": self.state,
        }
        return [f"{name}={value}" for name, value in facts.items() if value is not None] or ["all"]
