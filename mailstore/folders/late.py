"""Late mail: messages that reached a mailbox after it was closed or deleted.

A session that accepted a recipient just before the change delivers just after it, and nobody reads
that mailbox any more. Its sender must learn of it. Functions take a connection in a transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select

from mailstore.blobs.references import drop_unheld
from mailstore.db.dialect import overwrite_deleted
from mailstore.db.schema import entries, mailboxes, messages
from mailstore.mailboxes.states import MailboxState
from mailstore.messages.messages import MailboxEntry, get_message

_CLOSED = (
    mailboxes.c.state == MailboxState.CLOSED.value,
    mailboxes.c.erased_at.is_(None),
    entries.c.delivered_at >= mailboxes.c.state_since,
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
    held = select(box.id).where(box.id == late.mailbox_id).with_for_update()
    conn.execute(held)  # against a restoration at the same time
    there = select(entries.c.id).join_from(entries, mailboxes)
    if conn.scalar(there.where(entries.c.id == late.id, *_CLOSED)) is None:
        return False
    overwrite_deleted(conn)
    conn.execute(delete(entries).where(entries.c.id == late.id))
    drop_unheld(conn, [late.message.id])
    return True
