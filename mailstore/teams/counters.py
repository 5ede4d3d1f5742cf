"""Counters of a mailbox's work by state, and its oldest open message, for lists and alarms.

Mail that came in is open until somebody takes, files or closes it: open are messages of the inbox,
and those delivered since somebody last looked. Of the other states all messages count, wherever
they are.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BindParameter, Connection, and_, bindparam, exists, func, or_, select, union

from mailstore.db.folder_schema import folder_messages, folders
from mailstore.db.schema import entries
from mailstore.db.team_schema import message_assignments, message_work
from mailstore.mailboxes.usage import NOT_PLACED, of_new
from mailstore.teams.model import WorkState

_WORK, _HELD = message_work.c, message_assignments.c
_MAILBOX: Final[BindParameter[Any]] = bindparam("mailbox")
_NOW: Final[BindParameter[Any]] = bindparam("at")


@dataclass(frozen=True, slots=True)
class OldestOpen:
    """Message that nobody has dealt with for longest, and the time it came in."""

    message_id: str
    received_at: datetime


def _held(message_id: Any) -> Any:
    # SQLAlchemy ties an inner query to the query around it alone: the column must be one of that.
    return exists().where(
        _HELD.mailbox_id == _MAILBOX, _HELD.message_id == message_id, _HELD.until > _NOW
    )


def _is_open(message_id: Any) -> Any:
    """True unless a row says otherwise; a message whose assignment is over is open again."""
    return ~exists().where(
        _WORK.mailbox_id == _MAILBOX,
        _WORK.message_id == message_id,
        or_(
            _WORK.state.in_([WorkState.WAITING.value, WorkState.CLOSED.value]),
            and_(_WORK.state == WorkState.TAKEN.value, _held(_WORK.message_id)),
        ),
    )


_INBOX: Final = (
    select(folder_messages.c.message_id, folder_messages.c.internal_date.label("at"))
    .join_from(folders, folder_messages, folder_messages.c.folder_id == folders.c.id)
    .where(
        folders.c.mailbox_id == _MAILBOX,
        folders.c.role == "inbox",
        _is_open(folder_messages.c.message_id),
    )
)
_NOT_PLACED: Final = of_new(
    select(entries.c.message_id, entries.c.delivered_at.label("at")).where(
        entries.c.mailbox_id == _MAILBOX, NOT_PLACED, _is_open(entries.c.message_id)
    )
)
_COUNT_OPEN: Final = select(func.count()).select_from(
    union(
        _INBOX.with_only_columns(folder_messages.c.message_id),
        _NOT_PLACED.with_only_columns(entries.c.message_id),
    ).subquery()
)
_COUNT_SET: Final = (
    select(_WORK.state, func.count())
    .where(
        _WORK.mailbox_id == _MAILBOX,
        or_(
            _WORK.state.in_([WorkState.WAITING.value, WorkState.CLOSED.value]),
            and_(_WORK.state == WorkState.TAKEN.value, _held(_WORK.message_id)),
        ),
    )
    .group_by(_WORK.state)
)
_OLDEST: Final = tuple(
    query.order_by("at", "message_id").limit(1) for query in (_INBOX, _NOT_PLACED)
)


def count_states(conn: Connection, mailbox_id: int, now: datetime) -> dict[WorkState, int]:
    """Number of messages in each state as of now."""
    facts = {"mailbox": mailbox_id, "at": now}
    counted = {WorkState(state): number for state, number in conn.execute(_COUNT_SET, facts)}
    counted[WorkState.OPEN] = conn.execute(_COUNT_OPEN, facts).scalar_one()
    return {state: counted.get(state, 0) for state in WorkState}


def oldest_open(conn: Connection, mailbox_id: int, now: datetime) -> OldestOpen | None:
    """The open message that came in first; None if nothing is open."""
    facts = {"mailbox": mailbox_id, "at": now}
    rows = [row for query in _OLDEST for row in conn.execute(query, facts)]
    found = [OldestOpen(row.message_id, row.at) for row in rows]
    return min(found, key=lambda one: (one.received_at, one.message_id), default=None)
