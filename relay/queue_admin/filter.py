"""Which deliveries are meant: one filter for every command on the queue.

Pure.  Patterns know `*` for any characters and `?` for one; case does not count (of letters beyond
ASCII where the database knows them).  A pattern without either means exactly what it says, and `<>`
is the null sender.
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
from relay.queue.schema import deliveries, delivery_recipients
from relay.smtp.outcome import State

NULL_SENDER: Final = "<>"
_WILD: Final = re.compile(r"[*?]")
_LIKE: Final[Mapping[str, str]] = {"*": "%", "?": "_", "%": "/%", "_": "/_", "/": "//"}

# No bare column: SQLite would look for a batch in the index of what is due, which begins with the
# state, and sort a million rows by number for each.  Rows are walked by number instead.
_STATE: Final = func.coalesce(deliveries.c.state, "")


class Standing(StrEnum):
    """What a delivery in the queue is to an operator; each is in one of them."""

    WAITING = "waiting"
    HELD = "held"
    FAILED = "failed"

    @property
    def condition(self) -> ColumnElement[bool]:
        """The rows that stand so: what failed is over, whether it was held or not."""
        if self is Standing.FAILED:
            return _STATE == State.FAILED
        held = deliveries.c.held
        is_held = held.is_not(None) if self is Standing.HELD else held.is_(None)
        return and_(_STATE == State.WAITING, is_held)

    @staticmethod
    def of(state: str, held: str | None) -> "Standing":
        """The same of one row."""
        if state == State.FAILED:
            return Standing.FAILED
        return Standing.WAITING if held is None else Standing.HELD


def like(column: ColumnElement[str], pattern: str) -> ColumnElement[bool]:
    """Whether a column, such as a domain or an address, fits a pattern; on both dialects."""
    if pattern == NULL_SENDER:
        return column == ""
    if not _WILD.search(pattern):
        return func.lower(column) == func.lower(pattern)
    return column.ilike("".join(_LIKE.get(one, one) for one in pattern), escape="/")


def masked(pattern: str) -> str:
    """The pattern as events may hold it: no part of a patient's INS is in it (DOMAIN §1.5).

    Where addresses of patients fit, a local part with a digit in it may be of an INS.
    """
    local, at, domain = pattern.rpartition("@")
    if not at:
        local, domain = pattern, "*"
    hides = fnmatchcase(PATIENT_DOMAIN, domain.lower()) and any(map(str.isdigit, local))
    return f"***{at}{domain if at else ''}" if hides else pattern


@dataclass(frozen=True, slots=True)
class Filter:
    """Every condition that is given must hold; none given means all deliveries.

    `recipient` looks at those who have not got the message yet.  `ids` are numbers of deliveries,
    `messages` identifiers of messages: either is enough.  `older` and `younger` are ages in the
    queue.
    """

    domain: str | None = None
    sender: str | None = None
    recipient: str | None = None
    mailbox_type: str | None = None
    older: timedelta | None = None
    younger: timedelta | None = None
    ids: tuple[int, ...] = ()
    messages: tuple[str, ...] = ()
    state: Standing | None = None

    def conditions(self, now: datetime) -> list[ColumnElement[bool]]:
        """What rows of `deliveries` must fulfil; ages are reckoned from `now`."""
        d = deliveries.c
        found: list[ColumnElement[bool]] = []
        if self.domain is not None:
            # Domains are stored in lower case: one that is exact can be looked up by an index.
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
        return found

    @property
    def texts(self) -> list[str]:
        """The conditions for people and events, masked; `all` where there are none."""
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
