"""A message in the database: the mailboxes that hold it, and its deliveries in the queue.

A delivery that succeeded is no longer there; the trace journal has it.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from mailstore.db.schema import entries, mailboxes
from relay.queue.schema import deliveries, delivery_recipients


@dataclass(frozen=True, slots=True)
class MessageHolder:
    """A mailbox that holds the message, and the recipient's address as the peer gave it."""

    mailbox: str
    recipient: str
    delivered_at: datetime


@dataclass(frozen=True, slots=True)
class QueuedRecipient:
    """A recipient of a delivery; `reply` is the peer's last reply, '' before the first."""

    address: str
    state: str
    reply: str


@dataclass(frozen=True, slots=True)
class QueuedDelivery:
    """A delivery in the queue; `due` is the time of its next attempt if it waits."""

    id: int
    domain: str
    state: str
    attempts: int
    created_at: datetime
    due: datetime
    last_error: str
    recipients: tuple[QueuedRecipient, ...]


def holders_of(connection: Connection, message_id: str) -> list[MessageHolder]:
    """The mailboxes that hold a message, in the order of their entries."""
    statement = (
        select(mailboxes.c.address, entries.c.recipient, entries.c.delivered_at)
        .join_from(entries, mailboxes)
        .where(entries.c.message_id == message_id)
        .order_by(entries.c.id)
    )
    return [MessageHolder(*row) for row in connection.execute(statement)]


def deliveries_of(connection: Connection, message_id: str) -> list[QueuedDelivery]:
    """The deliveries of a message that are in the queue, by their numbers."""
    d, r = deliveries.c, delivery_recipients.c
    recipients: dict[int, tuple[QueuedRecipient, ...]] = {}
    for row in connection.execute(
        select(r.delivery_id, r.address, r.state, r.reply)
        .join(deliveries, d.id == r.delivery_id)
        .where(d.message_id == message_id)
        .order_by(r.id)
    ):
        one = QueuedRecipient(row.address, row.state, row.reply)
        recipients[row.delivery_id] = (*recipients.get(row.delivery_id, ()), one)
    rows = connection.execute(
        select(d.id, d.domain, d.state, d.attempts, d.created_at, d.due, d.last_error)
        .where(d.message_id == message_id)
        .order_by(d.id)
    )
    return [QueuedDelivery(recipients=recipients.get(row.id, ()), **row._mapping) for row in rows]
