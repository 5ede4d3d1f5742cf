"""Backlog of the queue, written directly into the tables; all deliveries share one message."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import insert

from mailstore.db.database import Database
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.messages.messages import Message, NewMessage, store_messages
from relay.queue.enqueue import enqueue
from relay.queue.model import QueueItem
from relay.queue.schema import deliveries
from relay.queue.wakeup import notify_after_commit, notify_in_transaction
from tests.support.clock import NOW

SHARED = "f" * 32


def put(
    database: Database,
    domain: str,
    *recipients: str,
    sender: str = "claire@a.mssante.fr",
    mailbox_type: MailboxType | None = None,
    at: datetime = NOW,
    number: int = 0,
) -> str:
    """Queue one message like acceptance; returns its id."""
    (key,) = put_many(
        database, domain, [number], *recipients, sender=sender, mailbox_type=mailbox_type, at=at
    )
    return key


def put_many(
    database: Database,
    domain: str,
    numbers: Iterable[int],
    *recipients: str,
    sender: str = "claire@a.mssante.fr",
    mailbox_type: MailboxType | None = None,
    at: datetime = NOW,
) -> list[str]:
    """Queue messages in one transaction and wake the couriers; returns their ids."""
    keys = [f"{number:032x}" for number in numbers]
    messages = [
        Message(key, sender, "0" * 64, 10, "Received: x\r\n", "local", "s", at) for key in keys
    ]
    items = [
        QueueItem(
            key,
            domain,
            recipients or (f"x@{domain}",),
            smtputf8=False,
            created_at=at,
            sender=sender,
            mailbox_type=mailbox_type,
        )
        for key in keys
    ]
    with database.write() as connection:
        store_messages(connection, list(map(NewMessage, messages)), now=at)
        enqueue(connection, items)
        notify_in_transaction(connection)
    notify_after_commit(database.url)
    return keys


def fill(
    database: Database, senders: Iterable[tuple[str, str, str, int]], at: datetime = NOW
) -> None:
    """Queue deliveries as (class, destination, sender, number), all due at the same time.

    They have no recipients: no attempt may be made.
    """
    message = Message(SHARED, "", "0" * 64, 10, "Received: x\r\n", "local", "s", at)
    rows = [
        {
            "message_id": SHARED,
            "domain": domain,
            "state": "waiting",
            "smtputf8": False,
            "attempts": 1,
            "due": at,
            "created_at": at,
            "last_error": "",
            "sender": sender,
            "traffic": traffic,
        }
        for traffic, domain, sender, number in senders
        for _ in range(number)
    ]
    with database.write() as connection:
        store_messages(connection, [NewMessage(message)], now=at)
        connection.execute(insert(deliveries), rows)
