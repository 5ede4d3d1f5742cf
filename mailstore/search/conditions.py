"""Criteria that the database decides: conditions on `folder_messages`.

Everything in them is no content: flags, dates, sizes, UIDs, threads. A keyword that the mailbox has
not is on no message.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, exists, false, func, not_, or_, select, true

from mailstore.db.folder_schema import folder_messages, seen_by_person
from mailstore.db.summary_schema import message_threads
from mailstore.search import criteria as c

SEEN: Final = 1  # bit of \Seen in `folder_messages.flags`
MAX_RANGES: Final = 100  # of UIDs in a condition; more are compared row by row

_HELD: Final = folder_messages.c
_SEEN_ROW: Final = seen_by_person.c
_THREAD: Final = message_threads.c
_Condition = ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class Scope:
    r"""The mailbox that is searched, and for whom.

    `seen_of`: account whose \Seen counts, None if it is shared. `keyword_bits`: bits of the keyword
    of a name, 0 if the mailbox has none. `folder_id`: None for all folders.
    """

    mailbox_id: int
    folder_id: int | None
    seen_of: int | None
    keyword_bits: Callable[[str], int]

    def within(self, *, by_id: bool = False) -> _Condition:
        """Condition for the messages of the scope; `by_id`: found by the ids of messages."""
        if self.folder_id is None:
            return _HELD.mailbox_id == self.mailbox_id
        # SQLite would read the whole folder by its key; not if the column is an expression.
        folder_id = _HELD.folder_id + 0 if by_id else _HELD.folder_id
        return and_(folder_id == self.folder_id, _HELD.mailbox_id == self.mailbox_id)


def condition(criterion: c.Criterion, scope: Scope, held: Any = _HELD) -> _Condition | None:
    """Condition that is exactly the criterion; None if the database cannot decide it.

    `held`: columns of `folder_messages` or of an alias of it.
    """
    match criterion:
        case c.All():
            return true()
        case c.And(parts):
            exact = _exact(parts, scope, held)
            return None if exact is None else and_(true(), *exact)
        case c.Or(parts):
            exact = _exact(parts, scope, held)
            return None if exact is None else or_(false(), *exact)
        case c.Not(part):
            inner = condition(part, scope, held)
            return None if inner is None else not_(inner)
        case c.InThread(part):
            return _in_thread(part, scope, held)
        case c.ThreadIds(ids):
            members = select(_THREAD.message_id).where(
                _THREAD.mailbox_id == scope.mailbox_id, _THREAD.thread_id.in_(ids)
            )
            return _bool(held.message_id.in_(members))
        case c.Flagged(flags):
            return _flagged(flags, scope, held)
        case _:
            return _of_row(criterion, scope, held)


def _of_row(criterion: c.Criterion, scope: Scope, held: Any) -> _Condition | None:
    match criterion:
        case c.Keyword(name):
            bits = scope.keyword_bits(name)
            return _bool(held.keywords.bitwise_and(bits) == bits) if bits else false()
        case c.Arrived(since, before):
            return _between(held.internal_date, since, before)
        case c.Saved(since, before):
            return _between(held.saved_at, since, before)
        case c.Size(larger, smaller):
            return and_(
                true(),
                *([held.size > larger] if larger is not None else []),
                *([held.size < smaller] if smaller is not None else []),
            )
        case c.InFolders(folders):
            return _bool(held.folder_id.in_(folders))
        case c.Changed(modseq):
            return _bool(held.modseq >= modseq)
        case c.Uids(ranges) if len(ranges) <= MAX_RANGES:
            return or_(false(), *(held.uid.between(*sorted(one)) for one in ranges))
        case _:
            return None


def _exact(parts: tuple[c.Criterion, ...], scope: Scope, held: Any) -> list[_Condition] | None:
    found = [condition(part, scope, held) for part in parts]
    exact = [one for one in found if one is not None]
    return exact if len(exact) == len(found) else None


def _flagged(flags: int, scope: Scope, held: Any) -> _Condition:
    if scope.seen_of is None or not flags & SEEN:
        return _bool(held.flags.bitwise_and(flags) == flags)
    own = (
        select(_SEEN_ROW.seen)
        .where(_SEEN_ROW.entry_id == held.entry_id, _SEEN_ROW.account_id == scope.seen_of)
        .scalar_subquery()
    )
    # A person without a row for a message sees the shared bit.
    seen = func.coalesce(own, held.flags.bitwise_and(SEEN) == SEEN)
    others = flags & ~SEEN
    return and_(seen, held.flags.bitwise_and(others) == others)


def _in_thread(part: c.Criterion, scope: Scope, held: Any) -> _Condition | None:
    mine, other = message_threads.alias(), message_threads.alias()
    member = folder_messages.alias()
    inner = condition(part, scope, member.c)
    if inner is None:
        return None
    return exists().where(
        mine.c.mailbox_id == scope.mailbox_id,
        mine.c.message_id == held.message_id,
        other.c.mailbox_id == scope.mailbox_id,
        other.c.thread_id == mine.c.thread_id,
        member.c.mailbox_id == scope.mailbox_id,
        member.c.message_id == other.c.message_id,
        inner,
    )


def _between(column: Any, since: datetime | None, before: datetime | None) -> _Condition:
    return and_(
        true(),
        *([column >= since] if since is not None else []),
        *([column < before] if before is not None else []),
    )


def _bool(found: Any) -> _Condition:
    """The type of an expression on columns that are not typed here."""
    kept: _Condition = found
    return kept
