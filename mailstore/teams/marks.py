"""Marks of a team's work on the rows that IMAP and JMAP read.

Each act on a message gives its rows in folders a new modification sequence: IMAP shows the
assignment as the keyword `$MSSPrisEnCharge`, so a client that catches up must learn of it
(RFC 7162 §3.1.4).
"""

from collections.abc import Collection
from typing import Final

from sqlalchemy import bindparam, select, update

from mailstore.db.folder_schema import folder_messages, folders
from mailstore.db.listed import listed_numbers, listed_texts
from mailstore.db.schema import entries
from mailstore.errors import NotFound
from mailstore.folders.lock import MailboxLock

_ROW = folder_messages.c
_OF_MESSAGES: Final = (
    _ROW.mailbox_id == bindparam("mailbox"),
    listed_texts(_ROW.message_id, "messages"),
)
_MARK: Final = (
    update(folder_messages)
    .where(*_OF_MESSAGES)
    .values(
        modseq=bindparam("given"),
        flags=_ROW.flags.bitwise_or(bindparam("bits")),
    )
    .returning(_ROW.folder_id)
)
_MARK_FOLDERS: Final = (
    update(folders)
    .where(listed_numbers(folders.c.id, "folder_ids"))
    .values(messages_modseq=bindparam("given"))
)
_HELD: Final = (
    select(entries.c.id)
    .where(
        entries.c.message_id == bindparam("message"), entries.c.mailbox_id == bindparam("mailbox")
    )
    .limit(1)
)


def mark_changed(lock: MailboxLock, message_ids: Collection[str], *, add_flags: int = 0) -> int:
    """Give the messages' rows the transaction's modification sequence, which is returned.

    `add_flags`: bits of system flags to set. A message that has no UID yet gets a higher one later.
    """
    given = lock.modseq()
    if message_ids:
        found = lock.conn.scalars(
            _MARK,
            {
                "mailbox": lock.mailbox_id,
                "messages": list(message_ids),
                "given": given,
                "bits": add_flags,
            },
        )
        if folder_ids := sorted(set(found)):
            lock.conn.execute(_MARK_FOLDERS, {"folder_ids": folder_ids, "given": given})
    return given


def check_held(lock: MailboxLock, message_id: str) -> None:
    """Refuse a message that the mailbox does not hold. Raises NotFound."""
    if lock.conn.scalar(_HELD, {"mailbox": lock.mailbox_id, "message": message_id}) is None:
        raise NotFound(f"the mailbox does not hold the message {message_id}")
