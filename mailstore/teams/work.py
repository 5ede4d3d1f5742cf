"""States of the work on messages: open, taken, waiting, closed.

TAKEN belongs to an assignment and is set by it alone (`mailstore.teams.assignments`).
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, bindparam, select

from mailstore.db.listed import listed_texts
from mailstore.db.team_schema import message_work
from mailstore.errors import InvalidState
from mailstore.folders.lock import MailboxLock
from mailstore.teams.assignments import assignment_of, assignments_of, end
from mailstore.teams.marks import check_held, mark_changed
from mailstore.teams.model import End, Work, WorkState, state_at
from mailstore.teams.work_rows import put_state, stored_state

_ROW = message_work.c
_SEVERAL: Final = select(message_work).where(
    _ROW.mailbox_id == bindparam("mailbox"),
    listed_texts(_ROW.message_id, "messages"),
)


def set_state(
    lock: MailboxLock, message_id: str, state: WorkState, account_id: int | None, *, now: datetime
) -> Work:
    """Set the state of a message, and return it; nothing changes if it is in this state.

    OPEN and CLOSED end its assignment; WAITING leaves it with its person. Raises NotFound;
    InvalidState for TAKEN, which `take` sets.
    """
    if state is WorkState.TAKEN:
        raise InvalidState("a message is taken by a person: take it")
    check_held(lock, message_id)
    before = states_of(lock.conn, lock.mailbox_id, [message_id], now)[message_id]
    if before.state is state:
        return before
    if state is not WorkState.WAITING:
        end(lock, [message_id], End.RELEASED, now=now, by=account_id)
    put_state(lock, message_id, state, account_id, now)
    given = mark_changed(lock, [message_id])
    return Work(message_id, state, account_id, now, given)


def reopen(lock: MailboxLock, message_ids: Collection[str], *, now: datetime) -> list[str]:
    """Reopen messages that wait or are closed, as new mail of their thread has come.

    A message that a person has is TAKEN again, others are OPEN. Returns those that changed, in the
    order of their ids.
    """
    changed = []
    for message_id in sorted(set(message_ids)):
        before = stored_state(lock, message_id)
        if before in {WorkState.WAITING, WorkState.CLOSED}:
            held = assignment_of(lock.conn, lock.mailbox_id, message_id, now)
            person = None if held is None else held.account_id
            state = WorkState.OPEN if held is None else WorkState.TAKEN
            put_state(lock, message_id, state, person, now)
            changed.append(message_id)
    if changed:
        mark_changed(lock, changed)
    return changed


def states_of(
    conn: Connection, mailbox_id: int, message_ids: Sequence[str], now: datetime
) -> dict[str, Work]:
    """The states of messages as of now, each with an entry; for a page of a list."""
    found = {one: Work(one, WorkState.OPEN, None, None, 0) for one in message_ids}
    held = assignments_of(conn, mailbox_id, message_ids, now)
    for row in conn.execute(_SEVERAL, {"mailbox": mailbox_id, "messages": message_ids}):
        state = state_at(WorkState(row.state), held.get(row.message_id), now)
        found[row.message_id] = Work(row.message_id, state, row.account_id, row.since, row.modseq)
    return found
