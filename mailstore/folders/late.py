"""Late mail: messages that reached a mailbox after it was closed or deleted.

A session that accepted a recipient just before the change delivers just after it, and nobody reads
that mailbox any more. Its sender must learn of it. Functions take a connection in a transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, select

from mailstore.db.dialect import overwrite_deleted
from mailstore.db.folder_schema import folder_messages
from mailstore.db.schema import entries, mailboxes, messages
from mailstore.folders.expunge import drop_messages, expunge
from mailstore.folders.lock import lock_mailbox
from mailstore.mailboxes.states import MailboxState
from mailstore.messages.messages import MailboxEntry, get_message
from mailstore.news.changes import note_changed

_CLOSED = (
    mailboxes.c.state == MailboxState.CLOSED.value,
    mailboxes.c.erased_at.is_(None),
    entries.c.delivered_at >= mailboxes.c.state_since,
)
_PLACE = select(folder_messages.c.folder_id, folder_messages.c.uid).where(
    folder_messages.c.mailbox_id == bindparam("mailbox"),
    folder_messages.c.entry_id == bindparam("entry"),
)


@dataclass(frozen=True, slots=True)
class LateEntry:
    """An entry of late mail, and the address of its mailbox as compared."""

    entry: MailboxEntry
    mailbox: str


def late_entries(conn: Connection, since: datetime, limit: int) -> Sequence[LateEntry]:
    """List late mail that has a sender, in mailboxes closed or deleted since a time."""
    query = (
        select(entries.c.id, messages.c.id, mailboxes.c.address)
        .join_from(entries, mailboxes)
        .join(messages)
        .where(*_CLOSED, mailboxes.c.state_since >= since, messages.c.sender != "")
        .order_by(entries.c.id)
        .limit(limit)
    )
    return [
        LateEntry(entry, address)
        for number, message_id, address in conn.execute(query).all()
        for entry in get_message(conn, message_id).entries
        if entry.id == number
    ]


def remove_late(conn: Connection, late: MailboxEntry) -> bool:
    """Remove an entry of late mail, in a write transaction; False if it is none any more."""
    box = mailboxes.c
    held = select(box.id).where(box.id == late.mailbox_id).with_for_update(key_share=True)
    # Against a restoration at the same time. Not against foreign keys: a session that holds the
    # mailbox's lock, which is waited for below, may add an entry.
    conn.execute(held)
    there = select(entries.c.placed).join_from(entries, mailboxes)
    lock = lock_mailbox(conn, late.mailbox_id)
    placed = conn.scalar(there.where(entries.c.id == late.id, *_CLOSED))
    if placed is None:
        return False
    if placed:  # somebody has looked since
        row = conn.execute(_PLACE, {"mailbox": late.mailbox_id, "entry": late.id}).one()
        return bool(expunge(lock, row.folder_id, [row.uid]))
    overwrite_deleted(conn)
    conn.execute(delete(entries).where(entries.c.id == late.id))
    note_changed(conn, [late.mailbox_id])
    drop_messages(lock, [late.message.id])
    return True
