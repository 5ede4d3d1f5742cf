"""Append: a client puts a message into a folder (RFC 9051 §6.3.12, RFC 3502).

Its body is prepared before (`mailstore.blobs.bodies`); all rows come in one transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import insert

from foundation.failpoints import failpoint
from mailstore.blobs.bodies import PreparedBody
from mailstore.db.instants import microseconds
from mailstore.db.schema import entries
from mailstore.folders.counters import Counted, count, count_in_mailbox
from mailstore.folders.flags import Bits, Flag
from mailstore.folders.lock import MailboxLock
from mailstore.folders.private_seen import set_seen
from mailstore.folders.rows import FolderRow, insert_rows, uid_next, unseen_in
from mailstore.messages.messages import Message, NewMessage, store_messages

_ENTRIES: Final = insert(entries).returning(entries.c.id, sort_by_parameter_order=True)


@dataclass(frozen=True, slots=True)
class PreparedMessage:
    """A message to append: id made by the caller, body and its octets, flags, internal date."""

    id: str
    body: PreparedBody
    size: int
    bits: Bits
    internal_date: datetime


def append(
    lock: MailboxLock,
    folder_id: int,
    new: Sequence[PreparedMessage],
    *,
    origin: str,
    now: datetime,
    account_id: int | None = None,
) -> list[int]:
    r"""Append messages to a folder, all or none; their UIDs.

    The caller keeps the bodies in the same transaction (`Bodies.keep`). `origin`: the session.
    `account_id`: the person, whose \Seen it is where that is private. Raises NotFound for the
    folder.
    """
    first, modseq, at = uid_next(lock, folder_id), lock.modseq(), microseconds(now)
    # Without a sender: it is no delivery, and no report of late mail may go out for it.
    rows = [
        NewMessage(Message(one.id, "", one.body.blob, one.size, "", "local", origin, now))
        for one in new
    ]
    store_messages(lock.conn, rows, now=now)
    values = [
        {
            "mailbox_id": lock.mailbox_id,
            "message_id": one.id,
            "recipient": "",
            "delivered_at": now,
            "placed": True,
        }
        for one in new
    ]
    entry_ids = lock.conn.scalars(_ENTRIES, values).all()
    placed = [
        FolderRow(
            folder_id,
            first + number,
            lock.mailbox_id,
            entry_id,
            one.id,
            one.bits.flags,
            one.bits.keywords,
            modseq,
            modseq,
            one.size,
            microseconds(one.internal_date),
            at,
        )
        for number, (one, entry_id) in enumerate(zip(new, entry_ids, strict=True))
    ]
    if lock.private_seen and account_id is not None:
        seen = [row for row in placed if row.flags & Flag.SEEN]
        set_seen(lock, account_id, {row.entry_id: True for row in seen})
        placed = [row._replace(flags=row.flags & ~Flag.SEEN) for row in placed]
    insert_rows(lock, placed)
    octets = sum(one.size for one in new)
    count(lock, folder_id, Counted(len(new), octets, unseen_in(placed), len(new)))
    count_in_mailbox(lock, len(new), octets)
    failpoint("folders.appended")
    return [row.uid for row in placed]
