"""Rows of messages in a folder, as read to be changed, and statements on lists of UIDs."""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, bindparam, select, type_coerce

from mailstore.db.bulk_insert import BulkInsert
from mailstore.db.folder_schema import expunged, folder_messages, folders
from mailstore.db.listed import listed_numbers
from mailstore.folders.flags import Flag
from mailstore.folders.lock import MailboxLock
from mailstore.folders.tree import no_folder


class FolderRow(NamedTuple):
    """A row of `folder_messages`; times in microseconds."""

    folder_id: int
    uid: int
    mailbox_id: int
    entry_id: int
    message_id: str
    flags: int
    keywords: int
    modseq: int
    added_modseq: int
    size: int
    internal_date: int
    saved_at: int


class UidPair(NamedTuple):
    """UIDs of a message: where it was, and where it is now (RFC 4315 §3)."""

    source: int
    target: int


_FM = folder_messages.c
BY_UIDS: Final = (_FM.folder_id == bindparam("folder"), listed_numbers(_FM.uid, "uids"))
_ROWS = (
    select(
        *(
            type_coerce(_FM[name], _FM[name].type if name == "message_id" else BigInteger)
            for name in FolderRow._fields
        )
    )
    .where(*BY_UIDS)
    .order_by(_FM.uid)
)
_UID_NEXT = select(folders.c.uid_next).where(
    folders.c.id == bindparam("folder"),
    folders.c.mailbox_id == bindparam("mailbox"),
    folders.c.removed_modseq.is_(None),
)
_INSERT = BulkInsert(folder_messages, FolderRow._fields)
_EXPUNGED = BulkInsert(expunged, ("folder_id", "uid", "mailbox_id", "message_id", "modseq"))


def uid_next(lock: MailboxLock, folder_id: int) -> int:
    """The next UID of a folder. Raises NotFound if it is not in the mailbox."""
    found = lock.conn.scalar(_UID_NEXT, {"folder": folder_id, "mailbox": lock.mailbox_id})
    if found is None:
        raise no_folder(folder_id)
    return int(found)


def rows_of(lock: MailboxLock, folder_id: int, uids: Collection[int]) -> list[FolderRow]:
    """Rows of these UIDs, by UID; absent ones are left out. Raises NotFound for the folder."""
    uid_next(lock, folder_id)
    rows = lock.conn.execute(_ROWS, {"folder": folder_id, "uids": uids})
    return [FolderRow(*row) for row in rows]


def insert_rows(lock: MailboxLock, rows: Sequence[FolderRow]) -> None:
    """Insert rows."""
    _INSERT.insert(lock.conn, rows)


def note_expunged(lock: MailboxLock, rows: Sequence[FolderRow]) -> None:
    """Remember, for clients to catch up, that messages have left their folder."""
    now = lock.modseq()
    _EXPUNGED.insert(
        lock.conn, [(row.folder_id, row.uid, row.mailbox_id, row.message_id, now) for row in rows]
    )


def unseen_in(rows: Sequence[FolderRow]) -> int:
    r"""Number of rows without the shared \Seen."""
    return sum(not row.flags & Flag.SEEN for row in rows)
