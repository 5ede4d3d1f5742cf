"""Octets that mailboxes hold, for quotas and listings."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, func, select

from mailstore.db.schema import entries, messages
from mailstore.errors import InvalidAttribute

_UNITS: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE: Final = re.compile(r"([0-9]{1,15})|([0-9]{1,6})([KMGT])", re.ASCII)

_USED = func.sum(messages.c.size)
# Built once: SQLAlchemy's preparation of a statement takes longer than its execution.
_USED_SINCE = (
    select(_USED, func.max(entries.c.id))
    .join_from(entries, messages)
    .where(entries.c.mailbox_id == bindparam("mailbox"), entries.c.id > bindparam("after"))
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
    """Octets of a mailbox's messages, up to and including the entry `last`."""

    octets: int = 0
    last: int = 0


def used_octets(conn: Connection, mailbox_id: int, known: Usage = Usage()) -> Usage:
    """Sum the sizes of a mailbox's messages; only those after `known` are read."""
    octets, last = conn.execute(_USED_SINCE, {"mailbox": mailbox_id, "after": known.last}).one()
    return Usage(known.octets + int(octets or 0), last or known.last)


def used_by_mailbox(conn: Connection, mailbox_ids: Sequence[int]) -> dict[int, int]:
    """Sum sizes by mailbox id, for those of the mailboxes that hold messages."""
    query = (
        select(entries.c.mailbox_id, _USED)
        .join_from(entries, messages)
        .where(entries.c.mailbox_id.in_(mailbox_ids))
        .group_by(entries.c.mailbox_id)
    )
    return {row[0]: int(row[1]) for row in conn.execute(query)}
