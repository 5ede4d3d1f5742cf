r"""Links from a message to its answers, with the person and the time.

The server sees each answer that is sent, whatever the client; so it sets \Answered itself
(RFC 9051 §2.3.2).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, insert, select

from mailstore.db.listed import listed_texts
from mailstore.db.team_schema import message_answers
from mailstore.folders.lock import MailboxLock
from mailstore.teams.marks import check_held, mark_changed
from mailstore.teams.model import Answer

ANSWERED_BIT: Final = 1 << 1  # \Answered in `folder_messages.flags`

_ROW = message_answers.c
_GET: Final = select(message_answers).where(
    _ROW.mailbox_id == bindparam("mailbox"),
    _ROW.message_id == bindparam("message"),
    _ROW.answer_id == bindparam("answer"),
)
_INSERT: Final = insert(message_answers)
_TO: Final = (
    select(message_answers)
    .where(
        _ROW.mailbox_id == bindparam("mailbox"),
        listed_texts(_ROW.message_id, "messages"),
    )
    .order_by(_ROW.answered_at, _ROW.answer_id)
)
_OF: Final = (
    select(message_answers)
    .where(_ROW.mailbox_id == bindparam("mailbox"), _ROW.answer_id == bindparam("answer"))
    .order_by(_ROW.message_id)
    .limit(1)
)


def link_answer(
    lock: MailboxLock, message_id: str, answer_id: str, account_id: int | None, *, now: datetime
) -> Answer:
    r"""Note that a message was answered, and set \Answered; a link that exists stays as it is.

    `account_id`: person who answered, None if nobody knows. Raises NotFound.
    """
    check_held(lock, message_id)
    key = {"mailbox": lock.mailbox_id, "message": message_id, "answer": answer_id}
    before = lock.conn.execute(_GET, key).one_or_none()
    if before is not None:
        return _answer(before)
    given = mark_changed(lock, [message_id], add_flags=ANSWERED_BIT)
    answer = Answer(lock.mailbox_id, message_id, answer_id, account_id, now, given)
    lock.conn.execute(
        _INSERT,
        {
            "mailbox_id": answer.mailbox_id,
            "message_id": message_id,
            "answer_id": answer_id,
            "account_id": account_id,
            "answered_at": now,
            "modseq": given,
        },
    )
    return answer


def answers_to(conn: Connection, mailbox_id: int, message_ids: Sequence[str]) -> list[Answer]:
    """The answers to messages, oldest first."""
    found = conn.execute(_TO, {"mailbox": mailbox_id, "messages": message_ids})
    return [_answer(row) for row in found]


def answered_message(conn: Connection, mailbox_id: int, answer_id: str) -> Answer | None:
    """The link to the message that a message answers; None if it is no answer."""
    row = conn.execute(_OF, {"mailbox": mailbox_id, "answer": answer_id}).one_or_none()
    return None if row is None else _answer(row)


def _answer(row: Row[Any]) -> Answer:
    return Answer(
        row.mailbox_id,
        row.message_id,
        row.answer_id,
        row.account_id,
        row.answered_at,
        row.modseq,
    )
