"""Assignments: one person at most handles a message.

Each act compares and sets under the lock of the mailbox, so that of two persons who take a message
at once, from any process or machine, only the first gets it. An end by time counts from its moment
on, whenever its row is removed. Rights are asked for by the caller (`mailstore.rights.may`).
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, bindparam, delete, insert, select, update

from foundation.failpoints import failpoint
from mailstore.db.folder_schema import folder_messages
from mailstore.db.listed import listed_texts
from mailstore.db.team_schema import message_assignments
from mailstore.errors import InvalidState
from mailstore.folders.lock import MailboxLock
from mailstore.teams.marks import check_held, mark_changed
from mailstore.teams.model import (
    AlreadyTaken,
    Assignment,
    End,
    NotTaken,
    WorkState,
    check_until,
)
from mailstore.teams.work_rows import put_state, states_after_end

_ROW, _PLACE = message_assignments.c, folder_messages.c
_ONE: Final = (_ROW.mailbox_id == bindparam("mailbox"), _ROW.message_id == bindparam("message"))
_GET: Final = select(message_assignments).where(*_ONE)
_GET_SEVERAL: Final = select(message_assignments).where(
    _ROW.mailbox_id == bindparam("mailbox"),
    listed_texts(_ROW.message_id, "messages"),
    _ROW.until > bindparam("at"),
)
_OF_ACCOUNT: Final = (
    select(message_assignments)
    .where(
        _ROW.mailbox_id == bindparam("mailbox"),
        _ROW.account_id == bindparam("account"),
        _ROW.until > bindparam("at"),
    )
    .order_by(_ROW.since, _ROW.message_id)
)
_UIDS: Final = (
    select(_PLACE.uid)
    .join_from(
        message_assignments,
        folder_messages,
        and_(_PLACE.mailbox_id == _ROW.mailbox_id, _PLACE.message_id == _ROW.message_id),
    )
    # Not by the key of the folder: a mailbox has few assignments, and a folder many messages.
    .where(
        _ROW.mailbox_id == bindparam("mailbox"),
        _ROW.until > bindparam("at"),
        _PLACE.folder_id + 0 == bindparam("folder"),
    )
)
_INSERT: Final = insert(message_assignments)
_SET: Final = (
    update(message_assignments)
    .where(*_ONE)
    .values(
        account_id=bindparam("account"),
        since=bindparam("begin"),
        until=bindparam("end"),
        modseq=bindparam("given"),
    )
)
_DELETE: Final = delete(message_assignments).where(
    _ROW.mailbox_id == bindparam("mailbox"),
    listed_texts(_ROW.message_id, "messages"),
)


def take(
    lock: MailboxLock, message_id: str, account_id: int, *, now: datetime, until: datetime
) -> Assignment:
    """Give the message to the person until a time, and set its state TAKEN.

    For the person who has it already it goes on, never for less time than before. Raises NotFound,
    AlreadyTaken, and InvalidState for an end that is past or too far.
    """
    check_until(now, until)
    check_held(lock, message_id)
    before = _live(lock, message_id, now)
    if before is None:
        return _give(lock, message_id, account_id, now, until)
    if before.account_id != account_id:
        raise AlreadyTaken(before)
    if until <= before.until:
        return before
    return _give(lock, message_id, account_id, before.since, until, prolonged=True)


def release(lock: MailboxLock, message_id: str, account_id: int, *, now: datetime) -> Assignment:
    """End the person's own assignment; the message is OPEN again. Returns the assignment.

    Raises NotTaken; AlreadyTaken if another person has it.
    """
    before = _of_person(lock, message_id, account_id, now)
    end(lock, [message_id], End.RELEASED, now=now, by=account_id)
    return before


def force_release(
    lock: MailboxLock, message_id: str, *, now: datetime, by: int | None
) -> Assignment:
    """End the assignment of any person, for a manager. Raises NotTaken."""
    before = _taken(lock, message_id, now)
    end(lock, [message_id], End.FORCED, now=now, by=by)
    return before


def hand_over(
    lock: MailboxLock,
    message_id: str,
    account_id: int,
    colleague_id: int,
    *,
    now: datetime,
    until: datetime,
) -> Assignment:
    """Give the person's message to a colleague, until a time; the state stays.

    Raises NotTaken; AlreadyTaken if another person has it; InvalidState for the same person, or an
    end that is past or too far.
    """
    check_until(now, until)
    if colleague_id == account_id:
        raise InvalidState("a message is handed over to another person")
    _of_person(lock, message_id, account_id, now)
    return _set(lock, message_id, colleague_id, now, until)


def end(
    lock: MailboxLock,
    message_ids: Collection[str],
    cause: End,
    *,
    now: datetime,
    by: int | None = None,
) -> None:
    """Remove the assignments of messages, and set the states that follow."""
    if not message_ids:
        return
    messages = list(message_ids)
    lock.conn.execute(_DELETE, {"mailbox": lock.mailbox_id, "messages": messages})
    states_after_end(lock, messages, cause, now, by)
    mark_changed(lock, messages)


def assignment_of(
    conn: Connection, mailbox_id: int, message_id: str, now: datetime
) -> Assignment | None:
    """The assignment of a message as of now."""
    row = conn.execute(_GET, {"mailbox": mailbox_id, "message": message_id}).one_or_none()
    found = None if row is None else read_assignment(row)
    return found if found is not None and found.holds(now) else None


def assignments_of(
    conn: Connection, mailbox_id: int, message_ids: Collection[str], now: datetime
) -> dict[str, Assignment]:
    """The assignments of messages as of now, by message; for a page of a list."""
    facts = {"mailbox": mailbox_id, "messages": message_ids, "at": now}
    return {row.message_id: read_assignment(row) for row in conn.execute(_GET_SEVERAL, facts)}


def assigned_uids(
    conn: Connection, mailbox_id: int, folder_id: int, now: datetime
) -> frozenset[int]:
    """UIDs of the messages of a folder that a person has as of now."""
    facts = {"mailbox": mailbox_id, "folder": folder_id, "at": now}
    return frozenset(conn.scalars(_UIDS, facts))


def assigned_to(
    conn: Connection, mailbox_id: int, account_id: int, now: datetime
) -> list[Assignment]:
    """Messages of the mailbox that the person has, those taken first in front."""
    facts = {"mailbox": mailbox_id, "account": account_id, "at": now}
    return [read_assignment(row) for row in conn.execute(_OF_ACCOUNT, facts)]


def read_assignment(row: Row[Any]) -> Assignment:
    """Return the assignment of a row of `message_assignments`."""
    return Assignment(
        row.mailbox_id, row.message_id, row.account_id, row.since, row.until, row.modseq
    )


def _live(lock: MailboxLock, message_id: str, now: datetime) -> Assignment | None:
    return assignment_of(lock.conn, lock.mailbox_id, message_id, now)


def _taken(lock: MailboxLock, message_id: str, now: datetime) -> Assignment:
    found = _live(lock, message_id, now)
    if found is None:
        raise NotTaken(f"nobody has taken the message {message_id}")
    return found


def _of_person(lock: MailboxLock, message_id: str, account_id: int, now: datetime) -> Assignment:
    found = _taken(lock, message_id, now)
    if found.account_id != account_id:
        raise AlreadyTaken(found)
    return found


def _give(
    lock: MailboxLock,
    message_id: str,
    account_id: int,
    since: datetime,
    until: datetime,
    *,
    prolonged: bool = False,
) -> Assignment:
    given = _set(lock, message_id, account_id, since, until)
    failpoint("assignment.written")
    if not prolonged:
        put_state(lock, message_id, WorkState.TAKEN, account_id, since)
    return given


def _set(
    lock: MailboxLock, message_id: str, account_id: int, since: datetime, until: datetime
) -> Assignment:
    given = mark_changed(lock, [message_id])
    changed = lock.conn.execute(
        _SET,
        {
            "mailbox": lock.mailbox_id,
            "message": message_id,
            "account": account_id,
            "begin": since,
            "end": until,
            "given": given,
        },
    )
    if not changed.rowcount:
        lock.conn.execute(
            _INSERT,
            {
                "mailbox_id": lock.mailbox_id,
                "message_id": message_id,
                "account_id": account_id,
                "since": since,
                "until": until,
                "modseq": given,
            },
        )
    return Assignment(lock.mailbox_id, message_id, account_id, since, until, given)
