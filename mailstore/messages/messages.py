"""Messages, and the mailbox entries that hold them.

A message is stored once; each receiving mailbox has an entry. Many messages are stored by few
statements, for the group commit of the acceptance path: the caller commits, and promises them only
then. Functions take a connection in a transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, select

from mailstore.db.bulk_insert import BulkInsert
from mailstore.db.schema import entries, messages, microseconds
from mailstore.errors import NotFound

_MESSAGES = BulkInsert(messages, messages.c.keys())
_ENTRIES = BulkInsert(entries, ("mailbox_id", "message_id", "recipient", "delivered_at"))


@dataclass(frozen=True, slots=True)
class Message:
    """A stored message: facts of envelope and session, and the name of its body.

    `id` is 32 hexadecimal digits that sort by time, made by the caller. `sender` is the envelope
    sender, '' for the null sender. `blob` names `size` octets in the blob store; `trace` is the
    header fields to put in front of them, with CRLF. `peer` is the DN of the peer, or 'local'.
    """

    id: str
    sender: str
    blob: str
    size: int
    trace: str
    peer: str
    session: str
    received_at: datetime


class LocalDelivery(NamedTuple):  # takes a third of a dataclass's time, for each of hundreds
    """A copy to deliver: mailbox, and recipient address as given by the peer."""

    mailbox_id: int
    recipient: str


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to store, with its local deliveries (none if it only goes out)."""

    message: Message
    deliveries: tuple[LocalDelivery, ...] = ()


@dataclass(frozen=True, slots=True)
class MailboxEntry:
    """A message in a mailbox. Entry ids rise with time within a mailbox."""

    id: int
    mailbox_id: int
    recipient: str
    delivered_at: datetime
    message: Message


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message with all of its entries, by entry id."""

    message: Message
    entries: tuple[MailboxEntry, ...]


def store_messages(conn: Connection, new: Sequence[NewMessage], *, now: datetime) -> None:
    """Insert messages and their entries, delivered at `now`, by few statements (`bulk_insert`).

    Messages keep their order within each mailbox. Violated constraints (a repeated id, a missing
    mailbox) pass as sqlalchemy.exc.IntegrityError: the whole group is not stored.
    """
    _MESSAGES.insert(conn, [_values(item.message) for item in new])
    at = microseconds(now)
    _ENTRIES.insert(
        conn,
        [
            (delivery.mailbox_id, item.message.id, delivery.recipient, at)
            for item in new
            for delivery in item.deliveries
        ],
    )


def _values(message: Message) -> tuple[object, ...]:
    return (
        message.id,
        message.sender,
        message.blob,
        message.size,
        message.trace,
        message.peer,
        message.session,
        microseconds(message.received_at),
    )


def list_entries(
    conn: Connection, mailbox_id: int, *, after: int = 0, limit: int = 100
) -> list[MailboxEntry]:
    """List up to `limit` entries of a mailbox by id, from the first after the id `after`."""
    query = (
        _entries()
        .where(entries.c.mailbox_id == mailbox_id, entries.c.id > after)
        .order_by(entries.c.id)
        .limit(limit)
    )
    return [_entry(row, _message(row)) for row in conn.execute(query)]


def get_message(conn: Connection, message_id: str) -> StoredMessage:
    """Find a message and its entries. Raises NotFound."""
    row = conn.execute(
        select(messages, messages.c.id.label("message_id")).where(messages.c.id == message_id)
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no message {message_id}")
    message = _message(row)
    query = select(entries).where(entries.c.message_id == message_id).order_by(entries.c.id)
    return StoredMessage(message, tuple(_entry(row, message) for row in conn.execute(query)))


def _entries() -> Select[Any]:
    about_message = [column for column in messages.c if column is not messages.c.id]
    return select(entries, *about_message).join_from(entries, messages)


def _message(row: Row[Any]) -> Message:
    return Message(
        id=row.message_id,
        sender=row.sender,
        blob=row.blob,
        size=row.size,
        trace=row.trace,
        peer=row.peer,
        session=row.session,
        received_at=row.received_at,
    )


def _entry(row: Row[Any], message: Message) -> MailboxEntry:
    return MailboxEntry(
        id=row.id,
        mailbox_id=row.mailbox_id,
        recipient=row.recipient,
        delivered_at=row.delivered_at,
        message=message,
    )
