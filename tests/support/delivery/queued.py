"""Deliveries in any state, written into the queue row by row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, select

from mailstore.db.database import Database
from mailstore.db.schema import messages
from mailstore.messages.messages import Message, NewMessage, store_messages
from relay.queue.schema import deliveries, delivery_recipients, destinations
from relay.queue_admin.actions import QueueAction, run_action
from relay.queue_admin.filter import DeliveryFilter
from tests.support.clock import NOW

INS = "185017512345678"
PATIENT = f"{INS}@patient.mssante.fr"


def message_id(number: int) -> str:
    """Identifier of the message with this number, as made at NOW; `trace` accepts it."""
    milliseconds = int(NOW.timestamp() * 1000)
    return f"{milliseconds:012x}7{0:03x}8{number:015x}"


@dataclass(frozen=True)
class Letter:
    """Message queued for one domain."""

    domain: str = "b.mssante.fr"
    sender: str = "claire@a.mssante.fr"
    to: Sequence[str] = ("dr@b.mssante.fr",)
    state: str = "waiting"
    age: timedelta = timedelta(0)
    mailbox_type: str | None = "PER"
    held: str | None = None
    unreadable: bool = False
    lease: timedelta | None = None  # from now on
    attempts: int = 0
    last_error: str = ""
    recipient_states: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)
    recipient_columns: Mapping[str, Any] = field(default_factory=dict)


def put(database: Database, *letters: Letter, now: datetime = NOW) -> list[int]:
    """Queue several messages; returns the numbers of their deliveries."""
    ids = []
    with database.write() as connection:
        there = connection.scalar(select(func.count()).select_from(messages)) or 0
        for number, letter in enumerate(letters, there + 1):
            born = now - letter.age
            one = message_id(number)
            store_messages(
                connection,
                [NewMessage(Message(one, letter.sender, "0" * 64, 10, "", "local", "s", born))],
                now=born,
            )
            row = {
                "message_id": one,
                "domain": letter.domain,
                "state": letter.state,
                "smtputf8": False,
                "attempts": letter.attempts,
                "due": now + timedelta(hours=1),
                "created_at": born,
                "last_error": letter.last_error,
                "sender": letter.sender,
                "traffic": "bulk" if letter.mailbox_type == "APP" else "person",
                "mailbox_type": letter.mailbox_type,
                "held": letter.held,
                "unreadable": letter.unreadable,
                "lease_owner": "node:1" if letter.lease else None,
                "lease_until": now + letter.lease if letter.lease else None,
                **letter.columns,
            }
            key = connection.execute(insert(deliveries).values(row).returning(deliveries.c.id))
            ids.append(key.scalar_one())
            default = "failed" if letter.state == "failed" else "waiting"
            connection.execute(
                insert(delivery_recipients),
                [
                    {
                        "delivery_id": ids[-1],
                        "address": address,
                        "state": letter.recipient_states.get(address, default),
                        "reply": "",
                        **letter.recipient_columns,
                    }
                    for address in letter.to
                ],
            )
    return ids


def rows(database: Database) -> dict[int, Any]:
    """Number to row of each delivery."""
    with database.read() as connection:
        return {row.id: row for row in connection.execute(select(deliveries))}


def know(database: Database, domain: str, **facts: Any) -> None:
    """Set columns of a destination."""
    with database.write() as connection:
        connection.execute(insert(destinations).values(domain=domain, **facts))


def destination(database: Database, domain: str) -> Any:
    """Row of a destination, None without one."""
    with database.read() as connection:
        statement = select(destinations).where(destinations.c.domain == domain)
        return connection.execute(statement).one_or_none()


def perform(
    database: Database,
    act: QueueAction[Any],
    wanted: DeliveryFilter | None = None,
    *,
    batch: int = 2,
) -> tuple[list[int], int]:
    """Run an action; returns the numbers of changed deliveries, and how many were in flight."""
    done = list(run_action(database, act, wanted or DeliveryFilter(), lambda: NOW, batch=batch))
    return [one.id for each in done for one in each.changed], sum(one.in_flight for one in done)


def recipient_states(database: Database) -> list[tuple[int, str]]:
    """Delivery and state of each recipient, in order."""
    r = delivery_recipients.c
    with database.read() as connection:
        statement = select(r.delivery_id, r.state).order_by(r.id)
        return [(row.delivery_id, row.state) for row in connection.execute(statement)]
