"""Assignments that end without their person: by time, and by departure.

Functions need a connection in a write transaction.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, bindparam, select

from mailstore.db.schema import domains, mailboxes
from mailstore.db.team_schema import message_assignments
from mailstore.folders.lock import MailboxLock, lock_mailbox
from mailstore.teams.assignments import end, read_assignment
from mailstore.teams.model import Assignment, End

BATCH: Final = 500  # assignments ended in one transaction

_ROW = message_assignments.c
_DUE_MAILBOXES: Final = (
    select(mailboxes.c.id, mailboxes.c.address, domains.c.tenant_id)
    .join_from(mailboxes, domains)
    .where(mailboxes.c.id.in_(select(_ROW.mailbox_id).where(_ROW.until <= bindparam("at"))))
    .order_by(mailboxes.c.id)
)
_DUE: Final = (
    select(message_assignments)
    .where(_ROW.mailbox_id == bindparam("mailbox"), _ROW.until <= bindparam("at"))
    .order_by(_ROW.until, _ROW.message_id)
    .limit(BATCH)
)


@dataclass(frozen=True, slots=True)
class DueMailbox:
    """A mailbox with assignments whose time is over; `address` as compared."""

    id: int
    address: str
    tenant_id: int


def due_mailboxes(conn: Connection, now: datetime) -> list[DueMailbox]:
    """Mailboxes with assignments whose time is over, by number."""
    return [DueMailbox(*row) for row in conn.execute(_DUE_MAILBOXES, {"at": now})]


def expire(conn: Connection, mailbox_id: int, now: datetime) -> list[Assignment]:
    """End the assignments of a mailbox whose time is over, `BATCH` at most; returns them.

    Until then they are worth nothing, but watchers of the mailbox do not know.
    """
    lock = lock_mailbox(conn, mailbox_id)
    due = conn.execute(_DUE, {"mailbox": mailbox_id, "at": now})
    return _end(lock, [read_assignment(row) for row in due], End.EXPIRED, now)


def end_departed(conn: Connection, which: ColumnElement[bool], now: datetime) -> list[Assignment]:
    """End assignments of a condition on `message_assignments`; returns those that held.

    Mailboxes are locked in the order of their numbers, so that two such acts never wait for each
    other.
    """
    query = select(_ROW.mailbox_id).where(which).distinct().order_by(_ROW.mailbox_id)
    ended: list[Assignment] = []
    for mailbox_id in conn.scalars(query).all():
        lock = lock_mailbox(conn, mailbox_id)
        rows = conn.execute(
            select(message_assignments)
            .where(which, _ROW.mailbox_id == mailbox_id)
            .order_by(_ROW.message_id)
        )
        ended += _end(lock, [read_assignment(row) for row in rows], End.DEPARTED, now)
    return [one for one in ended if one.holds(now)]


def _end(lock: MailboxLock, found: list[Assignment], cause: End, now: datetime) -> list[Assignment]:
    end(lock, [one.message_id for one in found], cause, now=now)
    return found
