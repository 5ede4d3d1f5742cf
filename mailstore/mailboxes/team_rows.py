"""Rows of a team's work go with their message or mailbox; for whoever erases or expunges.

They have no foreign key to the message: the same message may be in several mailboxes, and its work
is one mailbox's.
"""

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import BindParameter, Connection, bindparam, delete, or_

from mailstore.db.dialect import overwrite_deleted
from mailstore.db.team_schema import (
    message_answers,
    message_assignments,
    message_notes,
    message_work,
)

_TABLES: Final = (message_assignments, message_notes, message_work, message_answers)
_MAILBOX: Final[BindParameter[Any]] = bindparam("mailbox")
_MESSAGES: Final[BindParameter[Any]] = bindparam("messages", expanding=True)
_OF_MAILBOX: Final = [delete(table).where(table.c.mailbox_id == _MAILBOX) for table in _TABLES]
_OF_MESSAGES: Final = [
    delete(table).where(
        table.c.mailbox_id == _MAILBOX,
        or_(*(one.in_(_MESSAGES) for one in table.c if one.name in {"message_id", "answer_id"})),
    )
    for table in _TABLES
]


def drop_team_rows(conn: Connection, mailbox_id: int, message_ids: Collection[str] | None) -> None:
    """Delete the rows of messages that the mailbox holds no more, or of the whole mailbox (None).

    Assignments, notes, states, and answers on both sides. The octets of notes are overwritten.
    """
    overwrite_deleted(conn)
    if message_ids is None:
        for statement in _OF_MAILBOX:
            conn.execute(statement, {"mailbox": mailbox_id})
    elif message_ids:
        facts = {"mailbox": mailbox_id, "messages": list(message_ids)}
        for statement in _OF_MESSAGES:
            conn.execute(statement, facts)
