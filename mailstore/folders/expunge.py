"""Expunge: messages leave the mailbox for good (RFC 9051 §6.4.3, RFC 4315 §2.1).

Their UIDs stay known, up to a limit for each mailbox; below the floor clients are told all present
UIDs instead (RFC 7162 §3.2.10).
"""

from collections.abc import Collection, Iterable
from typing import Final

from sqlalchemy import bindparam, delete, select, update

from foundation.failpoints import failpoint
from mailstore.blobs.references import drop_unheld, grouped
from mailstore.db.dialect import overwrite_deleted
from mailstore.db.folder_schema import expunged, folder_messages, folders, mailbox_state
from mailstore.db.listed import listed_numbers, listed_texts
from mailstore.db.schema import entries
from mailstore.db.summary_schema import message_threads
from mailstore.db.team_schema import drop_team_rows
from mailstore.folders.counters import Counted, count, count_in_mailbox
from mailstore.folders.lock import MailboxLock
from mailstore.folders.private_seen import forget_seen
from mailstore.folders.rows import BY_UIDS, FolderRow, note_expunged, rows_of, unseen_in
from mailstore.folders.tree import check_removable, remove_row

MAX_EXPUNGED: Final = 10_000  # UIDs remembered for a mailbox; those of one transaction go together
MAX_REMOVED: Final = 1_000  # removed folders remembered for a mailbox
_GROUP: Final = 500  # messages dropped by one statement

_FM, _X = folder_messages.c, expunged.c
_DELETE: Final = delete(folder_messages).where(*BY_UIDS)
_ENTRIES: Final = delete(entries).where(listed_numbers(entries.c.id, "entries"))
# Entries that nobody has looked at hold a message too. By the messages, not by the mailbox's index.
_STILL_HELD: Final = select(entries.c.message_id).where(
    entries.c.mailbox_id + 0 == bindparam("mailbox"), listed_texts(entries.c.message_id, "messages")
)
_ALL_UIDS: Final = select(_FM.uid).where(_FM.folder_id == bindparam("folder"))
_OLDEST_KEPT: Final = (
    select(_X.modseq)
    .where(_X.mailbox_id == bindparam("mailbox"))
    .order_by(_X.modseq.desc())
    .limit(1)
    .offset(bindparam("most"))
)
_OLDEST_REMOVED: Final = (
    select(folders.c.removed_modseq)
    .where(folders.c.mailbox_id == bindparam("mailbox"), folders.c.removed_modseq.is_not(None))
    .order_by(folders.c.removed_modseq.desc())
    .limit(1)
    .offset(bindparam("most"))
)
_OF_MAILBOX: Final = _X.mailbox_id == bindparam("mailbox")
_PRUNE: Final = delete(expunged).where(_OF_MAILBOX, _X.modseq <= bindparam("floor"))
_PRUNE_FOLDERS: Final = delete(folders).where(
    folders.c.mailbox_id == bindparam("mailbox"), folders.c.removed_modseq <= bindparam("floor")
)
_RAISE_FLOOR: Final = (
    update(mailbox_state)
    .where(mailbox_state.c.mailbox_id == bindparam("mailbox"))
    .values(floor_modseq=bindparam("floor"))
)


_THREADS: Final = delete(message_threads).where(
    message_threads.c.mailbox_id == bindparam("mailbox"),
    listed_texts(message_threads.c.message_id, "messages"),
)


def expunge(lock: MailboxLock, folder_id: int, uids: Collection[int]) -> tuple[int, ...]:
    """Expunge the messages with these UIDs; returns those that were there.

    A body goes with the last message that needs it (`mailstore.blobs.gc`). Raises NotFound for the
    folder.
    """
    rows = rows_of(lock, folder_id, uids)
    if rows:
        _expunge_rows(lock, folder_id, rows)
        prune(lock)
    return tuple(row.uid for row in rows)


def remove_folder(lock: MailboxLock, folder_id: int) -> None:
    """Remove a folder, and its messages for good.

    Raises NotFound, InvalidState for a special folder, Conflict for a folder with folders in it.
    """
    check_removable(lock, folder_id)
    expunge(lock, folder_id, lock.conn.scalars(_ALL_UIDS, {"folder": folder_id}).all())
    remove_row(lock, folder_id)
    _forget_until(lock, lock.conn.scalar(_OLDEST_REMOVED, _asked(lock, MAX_REMOVED)))


def _expunge_rows(lock: MailboxLock, folder_id: int, rows: list[FolderRow]) -> None:
    overwrite_deleted(lock.conn)
    entry_ids = [row.entry_id for row in rows]
    lock.conn.execute(_DELETE, {"folder": folder_id, "uids": [row.uid for row in rows]})
    lock.conn.execute(_ENTRIES, {"entries": entry_ids})
    forget_seen(lock, entry_ids)
    note_expunged(lock, rows)
    octets = sum(row.size for row in rows)
    count(lock, folder_id, Counted(-len(rows), -octets, -unseen_in(rows)))
    count_in_mailbox(lock, -len(rows), -octets)
    drop_messages(lock, {row.message_id for row in rows})
    failpoint("folders.expunged")


def drop_messages(lock: MailboxLock, message_ids: Iterable[str]) -> None:
    """Delete messages whose entries were deleted, unless something else holds them."""
    for group in grouped(iter(sorted(message_ids)), _GROUP):
        asked = {"mailbox": lock.mailbox_id, "messages": group}
        held = set(lock.conn.scalars(_STILL_HELD, asked))
        gone = [one for one in group if one not in held]
        if gone:
            lock.conn.execute(_THREADS, {**asked, "messages": gone})
            drop_team_rows(lock.conn, lock.mailbox_id, gone)
            drop_unheld(lock.conn, gone)


def prune(lock: MailboxLock) -> None:
    """Forget the oldest expunged UIDs beyond the limit, and removed folders of that time."""
    _forget_until(lock, lock.conn.scalar(_OLDEST_KEPT, _asked(lock, MAX_EXPUNGED)))


def _asked(lock: MailboxLock, most: int) -> dict[str, int]:
    return {"mailbox": lock.mailbox_id, "most": most}


def _forget_until(lock: MailboxLock, floor: int | None) -> None:
    if floor is not None:
        for statement in (_PRUNE, _PRUNE_FOLDERS, _RAISE_FLOOR):
            lock.conn.execute(statement, {"mailbox": lock.mailbox_id, "floor": floor})
