"""Erasure of deleted mailboxes: entries, messages that nobody else holds, and attributes.

The row stays with address, type, identifier and dates, so that nobody else gets the address; its
aliases end. Bodies without a message are freed by the collection of garbage (`mailstore.blobs.gc`)
a day later. Erasing goes in batches, each a transaction: after a crash the next round goes on.
Several machines may erase at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, null, or_, select, update

from mailstore.blobs.references import drop_unheld
from mailstore.db.dialect import overwrite_deleted
from mailstore.db.folder_schema import (
    expunged,
    folder_messages,
    folders,
    keywords,
    mailbox_state,
    seen_by_person,
)
from mailstore.db.people_schema import inactivity
from mailstore.db.schema import aliases, domains, entries, mailbox_holders, mailboxes, sent_counts
from mailstore.db.summary_schema import message_threads, search_blocks, thread_keys
from mailstore.db.team_schema import drop_team_rows
from mailstore.news.changes import note_changed

BATCH: Final = 500  # entries erased in one transaction

# Rows about messages and folders of a mailbox; not `mailbox_news`, whose number tells watchers.
_ABOUT_CONTENT: Final = (
    search_blocks,
    message_threads,
    thread_keys,
    seen_by_person,
    folder_messages,
    expunged,
    folders,
    keywords,
    mailbox_state,
)


@dataclass(frozen=True, slots=True)
class DueMailbox:
    """A mailbox whose content is to be erased; `address` as compared."""

    id: int
    address: str
    tenant_id: int


@dataclass(frozen=True, slots=True)
class ErasedBatch:
    """Numbers of entries and messages erased in a transaction; whether all is done."""

    entries: int
    messages: int
    done: bool


def due_mailboxes(conn: Connection, now: datetime) -> Sequence[DueMailbox]:
    """List mailboxes whose time of grace is over and whose content is not erased yet."""
    query = (
        select(mailboxes.c.id, mailboxes.c.address, domains.c.tenant_id)
        .join_from(mailboxes, domains)
        .where(mailboxes.c.erase_after <= now, mailboxes.c.deleted_at.is_not(None))
        .order_by(mailboxes.c.erase_after, mailboxes.c.id)
    )
    return [DueMailbox(*row) for row in conn.execute(query)]


def erase_batch(conn: Connection, mailbox_id: int, now: datetime) -> ErasedBatch | None:
    """Erase the next entries of a due mailbox, in a write transaction; None if it is not due.

    The first batch sets `erased_at`: the mailbox cannot be restored any more.
    """
    box = mailboxes.c
    due = (box.id == mailbox_id, box.erase_after <= now, box.deleted_at.is_not(None))
    # Not against foreign keys: a session that holds the mailbox's lock may add an entry, and would
    # wait for us while we wait for it.
    if conn.scalar(select(box.id).where(*due).with_for_update(key_share=True)) is None:
        return None  # restored, or erased by another machine
    overwrite_deleted(conn)
    # A session that still changes the mailbox ends first; the next one finds `erased_at`.
    state = select(mailbox_state.c.modseq).where(mailbox_state.c.mailbox_id == mailbox_id)
    conn.execute(state.with_for_update())
    # Deliveries, which take no lock of a mailbox, end too: no entry comes in unseen.
    conn.execute(select(box.id).where(box.id == mailbox_id).with_for_update())
    found = conn.execute(
        select(entries.c.id, entries.c.message_id)
        .where(entries.c.mailbox_id == mailbox_id)
        .order_by(entries.c.id)
        .limit(BATCH)
    ).all()
    message_ids = sorted({row.message_id for row in found})
    if found:
        placed = folder_messages.c
        conn.execute(
            delete(folder_messages).where(
                placed.mailbox_id == mailbox_id, placed.message_id.in_(message_ids)
            )
        )
        conn.execute(delete(entries).where(entries.c.id.in_([row.id for row in found])))
    # Of the whole mailbox, by header: not a batch longer than needed.
    conn.execute(delete(search_blocks).where(search_blocks.c.mailbox_id == mailbox_id))
    dropped = drop_unheld(conn, message_ids)
    done = len(found) < BATCH
    first = (box.id == mailbox_id, box.erased_at.is_(None))
    conn.execute(update(mailboxes).where(*first).values(erased_at=now))
    note_changed(conn, [mailbox_id])
    if done:
        _finish(conn, mailbox_id, now)
    return ErasedBatch(len(found), dropped, done)


def _finish(conn: Connection, mailbox_id: int, now: datetime) -> None:
    nothing = ("erase_after", "description", "service", "responsible", "rank", "quota")
    conn.execute(
        update(mailboxes)
        .where(mailboxes.c.id == mailbox_id)
        .values({column: null() for column in nothing})
    )
    drop_team_rows(conn, mailbox_id, None)
    for table in _ABOUT_CONTENT:
        conn.execute(delete(table).where(table.c.mailbox_id == mailbox_id))
    conn.execute(delete(mailbox_holders).where(mailbox_holders.c.mailbox_id == mailbox_id))
    conn.execute(delete(inactivity).where(inactivity.c.mailbox_id == mailbox_id))
    conn.execute(delete(sent_counts).where(sent_counts.c.mailbox_id == mailbox_id))
    lasting = or_(aliases.c.ends_at.is_(None), aliases.c.ends_at > now)
    conn.execute(
        update(aliases).where(aliases.c.mailbox_id == mailbox_id, lasting).values(ends_at=now)
    )
