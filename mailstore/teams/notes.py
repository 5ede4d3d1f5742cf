"""Notes of a team on messages: sealed, shown inside the mailbox alone, never sent.

A text is bound to mailbox, message and author: with the database alone, nobody can move it or put
it into another person's mouth.
"""

import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from mailstore.db.dialect import overwrite_deleted
from mailstore.db.listed import listed_texts
from mailstore.db.team_schema import message_notes
from mailstore.errors import InvalidNote, InvalidState, KeyMissing, NotFound, SealBroken
from mailstore.folders.lock import MailboxLock
from mailstore.sealed.row_seal import RowSeal
from mailstore.teams.marks import check_held, mark_changed
from mailstore.teams.model import Note

LONGEST_TEXT: Final = 4000  # characters
MOST_NOTES: Final = 200  # on a message, removed ones included

_ROW = message_notes.c
_COUNT: Final = (
    select(func.count())
    .select_from(message_notes)
    .where(_ROW.mailbox_id == bindparam("mailbox"), _ROW.message_id == bindparam("message"))
)
_INSERT: Final = insert(message_notes).returning(_ROW.id)
_GET: Final = select(message_notes).where(
    _ROW.mailbox_id == bindparam("mailbox"), _ROW.id == bindparam("note")
)
_LIST: Final = (
    select(message_notes)
    .where(
        _ROW.mailbox_id == bindparam("mailbox"),
        listed_texts(_ROW.message_id, "messages"),
    )
    .order_by(_ROW.id)
)
_REMOVE: Final = (
    update(message_notes)
    .where(_ROW.id == bindparam("note"))
    .values(text=None, removed_at=bindparam("at"), modseq=bindparam("given"))
)


def add_note(
    lock: MailboxLock, seal: RowSeal, message_id: str, account_id: int, text: str, *, now: datetime
) -> Note:
    """Add a note to a message. Raises NotFound, InvalidNote, KeyMissing; InvalidState for too many.

    The text is kept in NFC, without blanks around it, and is `LONGEST_TEXT` long at most.
    """
    checked = _checked(text)
    check_held(lock, message_id)
    key = {"mailbox": lock.mailbox_id, "message": message_id}
    if lock.conn.execute(_COUNT, key).scalar_one() >= MOST_NOTES:
        raise InvalidState(f"a message has {MOST_NOTES} notes at most")
    given = mark_changed(lock, [message_id])
    number = lock.conn.execute(
        _INSERT,
        {
            "mailbox_id": lock.mailbox_id,
            "message_id": message_id,
            "account_id": account_id,
            "written_at": now,
            "text": seal.seal(checked, bound_to(lock.mailbox_id, message_id, account_id)),
            "modseq": given,
        },
    ).scalar_one()
    return Note(number, lock.mailbox_id, message_id, account_id, now, checked, None, given)


def note_author(lock: MailboxLock, note_id: int) -> tuple[str, int]:
    """The message and the author of a note that is not removed. Raises NotFound."""
    row = lock.conn.execute(_GET, {"mailbox": lock.mailbox_id, "note": note_id}).one_or_none()
    if row is None or row.removed_at is not None:
        raise NotFound(f"the mailbox has no note {note_id}")
    return row.message_id, row.account_id


def remove_note(lock: MailboxLock, note_id: int, *, now: datetime) -> None:
    """Erase the text of a note; author and times stay. Raises NotFound.

    The caller asks whether the person is its author or manages the mailbox.
    """
    message_id, _ = note_author(lock, note_id)
    overwrite_deleted(lock.conn)
    given = mark_changed(lock, [message_id])
    lock.conn.execute(_REMOVE, {"note": note_id, "at": now, "given": given})


def list_notes(
    conn: Connection, seal: RowSeal, mailbox_id: int, message_ids: Sequence[str]
) -> list[Note]:
    """The notes on messages, oldest first, removed ones included.

    A note that cannot be opened has no text, so that it hides no other.
    """
    found = conn.execute(_LIST, {"mailbox": mailbox_id, "messages": message_ids})
    return [_note(row, seal) for row in found]


def bound_to(mailbox_id: int, message_id: str, account_id: int) -> bytes:
    """Facts that the text of a note is bound to."""
    return b"message_notes.text %d %s %d" % (mailbox_id, message_id.encode("ascii"), account_id)


def _note(row: Row[Any], seal: RowSeal) -> Note:
    text = None
    if row.text is not None:
        try:
            text = seal.open(row.text, bound_to(row.mailbox_id, row.message_id, row.account_id))
        except (KeyMissing, SealBroken):
            text = None
    return Note(
        row.id,
        row.mailbox_id,
        row.message_id,
        row.account_id,
        row.written_at,
        text,
        row.removed_at,
        row.modseq,
    )


def _checked(text: str) -> str:
    checked = unicodedata.normalize("NFC", text).strip()
    if not checked:
        raise InvalidNote("a note needs a text")
    if len(checked) > LONGEST_TEXT:
        raise InvalidNote(f"a note has {LONGEST_TEXT} characters at most, not {len(checked)}")
    if any(unicodedata.category(one) in {"Cc", "Cs"} and one not in "\n\t" for one in checked):
        raise InvalidNote("a note has no control characters but line ends and tabs")
    return checked
