"""Octets that mailboxes hold, for quotas and listings."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import (
    Connection,
    Select,
    bindparam,
    func,
    select,
    text,
    union_all,
)

from mailstore.db.dialect import by_index
from mailstore.db.folder_schema import mailbox_state
from mailstore.db.listed import octets_of
from mailstore.db.schema import entries, mailboxes, messages
from mailstore.errors import InvalidAttribute

_Select = TypeVar("_Select", bound=Select[Any])

_UNITS: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE: Final = re.compile(r"([0-9]{1,15})|([0-9]{1,6})([KMGT])", re.ASCII)

# Octets of a message as its reader gets it: the fields added on arrival, and the body.
OCTETS: Final = messages.c.size + octets_of(messages.c.trace)
# Written as in the partial index, else SQLite could not use it.
NOT_PLACED: Final = text("NOT entries.placed")


def of_new(statement: _Select) -> _Select:
    """The statement on `NOT_PLACED` entries, read by their partial index."""
    return by_index(statement, entries, "ix_entries_not_placed")


_STATE = mailbox_state.c
_OF_STATE = _STATE.mailbox_id == bindparam("mailbox")
# Built once: SQLAlchemy's preparation of a statement takes longer than its execution. One
# statement, since a message may be placed between two.
_USED = of_new(
    select(
        func.coalesce(select(_STATE.octets).where(_OF_STATE).scalar_subquery(), 0),
        func.coalesce(select(_STATE.modseq).where(_OF_STATE).scalar_subquery(), 0),
        func.coalesce(func.sum(OCTETS), 0),
        func.max(entries.c.id),
    )
    .join_from(entries, messages)
    .where(entries.c.mailbox_id == bindparam("mailbox"), NOT_PLACED)
    .where(entries.c.id > bindparam("after"))
)


def parse_size(text: str) -> int:
    """Parse a number of octets, plain or with K, M, G or T (powers of 1024).

    The limits fit the database's integers. Raises InvalidAttribute.
    """
    found = _SIZE.fullmatch(text.upper())
    if found is None:
        raise InvalidAttribute(f"{text!r} is not a size; write octets, 500M or 2G")
    return int(found[1] or found[2]) * _UNITS[found[3] or ""]


@dataclass(frozen=True, slots=True)
class Usage:
    """Octets of a mailbox's messages, as of the modification sequence `modseq`.

    `new`: octets of mail that nobody has looked at, up to and including the entry `last`.
    """

    octets: int = 0
    new: int = 0
    last: int = 0
    modseq: int = 0


def used_octets(conn: Connection, mailbox_id: int, known: Usage = Usage()) -> Usage:
    """Octets of a mailbox's messages.

    New mail after `known` alone is read, unless somebody has changed the mailbox since.
    """
    placed, modseq, new, last = _used(conn, mailbox_id, known.last)
    if modseq == known.modseq:
        new, last = known.new + new, last or known.last
    elif known.last:
        placed, modseq, new, last = _used(conn, mailbox_id, 0)
    return Usage(placed + new, new, last or 0, modseq)


def _used(conn: Connection, mailbox_id: int, after: int) -> tuple[int, int, int, int | None]:
    asked = {"mailbox": mailbox_id, "after": after}
    placed, modseq, new, last = conn.execute(_USED, asked).one()
    return int(placed), int(modseq), int(new), last


def used_by_mailbox(conn: Connection, mailbox_ids: Sequence[int]) -> dict[int, int]:
    """Octets by mailbox id, for those of the mailboxes that hold messages.

    A message that is placed meanwhile may be missing or counted twice: for listings.
    """
    placed = select(_STATE.mailbox_id, _STATE.octets).where(_STATE.mailbox_id.in_(mailbox_ids))
    new = _new_by_mailbox().where(entries.c.mailbox_id.in_(mailbox_ids))
    found: dict[int, int] = {}
    for part in (placed, new):
        for mailbox_id, octets in conn.execute(part):
            found[mailbox_id] = found.get(mailbox_id, 0) + int(octets)
    return {mailbox_id: octets for mailbox_id, octets in found.items() if octets}


def used_by_domain(conn: Connection, domain_id: int) -> int:
    """Octets of all mailboxes of a domain; costs a row for each mailbox and each new message."""
    return domain_octets(conn, domain_id)[0]


def domain_octets(conn: Connection, domain_id: int) -> tuple[int, int]:
    """Octets of a domain as `used_by_domain`, and the last entry of the store that they count."""
    octets, last = conn.execute(_OF_DOMAIN, {"domain": domain_id}).one()
    return int(octets or 0), last


def _new_by_mailbox() -> Select[tuple[int, int]]:
    return of_new(
        select(entries.c.mailbox_id, func.sum(OCTETS))
        .join_from(entries, messages)
        .where(NOT_PLACED)
        .group_by(entries.c.mailbox_id)
    )


_BOXES = select(mailboxes.c.id).where(mailboxes.c.domain_id == bindparam("domain"))
_PARTS = union_all(
    select(func.sum(_STATE.octets).label("octets")).where(_STATE.mailbox_id.in_(_BOXES)),
    of_new(
        select(func.sum(OCTETS))
        .join_from(entries, messages)
        .where(NOT_PLACED, entries.c.mailbox_id.in_(_BOXES))
    ),
).subquery()
_OF_DOMAIN = select(
    select(func.sum(_PARTS.c.octets)).scalar_subquery(),
    select(func.coalesce(func.max(entries.c.id), 0)).scalar_subquery(),
)
