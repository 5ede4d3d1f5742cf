"""Copy and move of messages between folders of a mailbox (RFC 9051 §6.4.7, RFC 6851).

A copy is another entry of the same message; a moved message keeps its entry.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import delete, insert, select

from foundation.failpoints import failpoint
from mailstore.db.folder_schema import folder_messages
from mailstore.db.instants import microseconds
from mailstore.db.listed import listed_numbers, listed_texts
from mailstore.db.schema import entries, messages
from mailstore.folders.counters import Counted, count, count_in_mailbox
from mailstore.folders.expunge import prune
from mailstore.folders.lock import MailboxLock
from mailstore.folders.private_seen import copy_seen
from mailstore.folders.rows import (
    BY_UIDS,
    FolderRow,
    UidPair,
    insert_rows,
    note_expunged,
    rows_of,
    uid_next,
    unseen_in,
)

_E = entries.c
_DELETE: Final = delete(folder_messages).where(*BY_UIDS)
_ENTRIES: Final = select(_E.id, _E.mailbox_id, _E.message_id, _E.recipient, _E.delivered_at).where(
    listed_numbers(_E.id, "entries")
)
# In the order in which other mailboxes drop messages (`mailstore.blobs.references`); by UID, the
# foreign keys of new entries would lock them so that both may wait for each other.
_HOLD: Final = (
    select(messages.c.id)
    .where(listed_texts(messages.c.id, "messages"))
    .order_by(messages.c.id)
    .with_for_update(read=True, key_share=True)
)
_INSERT_ENTRIES: Final = insert(entries).returning(_E.id, sort_by_parameter_order=True)


def copy(
    lock: MailboxLock, rows: Sequence[FolderRow], target_id: int, *, now: datetime
) -> list[UidPair]:
    """Copy messages, as `rows_of` gave them, into a folder, with their flags.

    Raises NotFound for the target.
    """
    first = uid_next(lock, target_id)
    if not rows:
        return []
    originals = lock.conn.execute(_ENTRIES, {"entries": [row.entry_id for row in rows]})
    by_id = {one.id: one._asdict() for one in originals}
    lock.conn.execute(_HOLD, {"messages": [row.message_id for row in rows]})
    values = [{**by_id[row.entry_id], "placed": True} for row in rows]
    for value in values:
        del value["id"]
    made = lock.conn.scalars(_INSERT_ENTRIES, values).all()
    modseq, at = lock.modseq(), microseconds(now)
    new = [
        row._replace(
            folder_id=target_id,
            uid=first + number,
            entry_id=entry_id,
            modseq=modseq,
            added_modseq=modseq,
            saved_at=at,
        )
        for number, (row, entry_id) in enumerate(zip(rows, made, strict=True))
    ]
    insert_rows(lock, new)
    if lock.private_seen:
        copy_seen(lock, {row.entry_id: one for row, one in zip(rows, made, strict=True)})
    octets = sum(row.size for row in new)
    count(lock, target_id, Counted(len(new), octets, unseen_in(new), len(new)))
    count_in_mailbox(lock, len(new), octets)
    failpoint("folders.copied")
    return _pairs(rows, new)


def move(
    lock: MailboxLock, folder_id: int, uids: Collection[int], target_id: int, *, now: datetime
) -> list[UidPair]:
    """Move the messages with these UIDs into a folder; absent ones are passed over.

    Raises NotFound for either folder.
    """
    rows = rows_of(lock, folder_id, uids)
    first = uid_next(lock, target_id)
    if not rows:
        return []
    modseq, at = lock.modseq(), microseconds(now)
    new = [
        row._replace(folder_id=target_id, uid=first + number, modseq=modseq, saved_at=at)
        for number, row in enumerate(rows)
    ]
    lock.conn.execute(_DELETE, {"folder": folder_id, "uids": [row.uid for row in rows]})
    insert_rows(lock, new)
    failpoint("folders.moved")
    note_expunged(lock, rows)
    octets, unseen = sum(row.size for row in rows), unseen_in(rows)
    count(lock, folder_id, Counted(-len(rows), -octets, -unseen))
    count(lock, target_id, Counted(len(rows), octets, unseen, len(rows)))
    prune(lock)
    return _pairs(rows, new)


def _pairs(rows: Sequence[FolderRow], new: Sequence[FolderRow]) -> list[UidPair]:
    return [UidPair(row.uid, one.uid) for row, one in zip(rows, new, strict=True)]
