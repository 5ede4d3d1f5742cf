"""Rows of work states, written under the lock of the mailbox."""

from collections.abc import Collection
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, insert, select, update

from mailstore.db.listed import listed_texts
from mailstore.db.team_schema import message_work
from mailstore.folders.lock import MailboxLock
from mailstore.teams.model import End, WorkState, state_after

_ROW = message_work.c
_STATE: Final = select(_ROW.state).where(
    _ROW.mailbox_id == bindparam("mailbox"), _ROW.message_id == bindparam("message")
)
_INSERT: Final = insert(message_work)
_SET: Final = (
    update(message_work)
    .where(_ROW.mailbox_id == bindparam("mailbox"), _ROW.message_id == bindparam("message"))
    .values(
        state=bindparam("to"),
        account_id=bindparam("account"),
        since=bindparam("at"),
        modseq=bindparam("given"),
    )
)
_SET_FROM: Final = (
    update(message_work)
    .where(
        _ROW.mailbox_id == bindparam("mailbox"),
        listed_texts(_ROW.message_id, "messages"),
        _ROW.state == bindparam("before"),
    )
    .values(
        state=bindparam("to"),
        account_id=bindparam("account"),
        since=bindparam("at"),
        modseq=bindparam("given"),
    )
)


def stored_state(lock: MailboxLock, message_id: str) -> WorkState:
    """The state in the row; OPEN without a row."""
    found = lock.conn.scalar(_STATE, {"mailbox": lock.mailbox_id, "message": message_id})
    return WorkState.OPEN if found is None else WorkState(found)


def put_state(
    lock: MailboxLock, message_id: str, state: WorkState, account_id: int | None, now: datetime
) -> None:
    """Set the state of a message; the row is made if missing."""
    given = lock.modseq()
    changed = lock.conn.execute(
        _SET,
        {
            "mailbox": lock.mailbox_id,
            "message": message_id,
            "to": state.value,
            "account": account_id,
            "at": now,
            "given": given,
        },
    )
    if not changed.rowcount:
        lock.conn.execute(
            _INSERT,
            {
                "mailbox_id": lock.mailbox_id,
                "message_id": message_id,
                "state": state.value,
                "account_id": account_id,
                "since": now,
                "modseq": given,
            },
        )


def states_after_end(
    lock: MailboxLock, message_ids: Collection[str], end: End, now: datetime, by: int | None
) -> None:
    """Set the states of messages whose assignments end; `by`: person whose act it is."""
    for before in WorkState:
        after = state_after(before, end)
        if after is not before:
            lock.conn.execute(
                _SET_FROM,
                {
                    "mailbox": lock.mailbox_id,
                    "messages": list(message_ids),
                    "before": before.value,
                    "to": after.value,
                    "account": by,
                    "at": now,
                    "given": lock.modseq(),
                },
            )
