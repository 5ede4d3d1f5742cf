"""Deleting deliveries, with all that reports to their senders need."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sqlalchemy import Connection, delete, select

from mailstore.database import Database
from relay.queue import State
from relay.queue_control import Act, Touched
from relay.queue_schema import deliveries, delivery_recipients


@dataclass(frozen=True, slots=True)
class DroppedRecipient:
    """A recipient of a dropped delivery: how it stood, and what RCPT asked for, verbatim."""

    address: str
    state: State
    reply: str
    notify: str
    orcpt: str | None


@dataclass(frozen=True, slots=True)
class Dropped:
    """A delivery about to be deleted, with all that a report to its sender needs.

    `sender` is '' for the null one; `arrived` is when it came into the queue.
    """

    id: int
    message_id: str
    domain: str
    sender: str
    smtputf8: bool
    envid: str | None
    ret: str | None
    attempts: int
    arrived: datetime
    last_error: str
    recipients: tuple[DroppedRecipient, ...]


class Reports(Protocol):
    """Tells the senders of what is dropped; see `Drop`."""

    def prepare(self, dropped: Sequence[Dropped]) -> None:
        """Write the reports that are due for these, to be kept or forgotten; may block."""

    def keep(self, connection: Connection, ids: Collection[int]) -> None:
        """Queue those of these deliveries in the transaction that deletes them; forget others."""


@dataclass(frozen=True, slots=True)
class Drop(Act):
    """Deleted, in the very transaction that queues the reports, if there are to be any.

    What was tried since its report was written is left alone: the report would be wrong.
    """

    reports: Reports | None = None
    _told: dict[int, Dropped] = field(default_factory=dict, init=False, repr=False)

    def prepare(self, database: Database, ids: Sequence[int]) -> None:
        """Have the reports written."""
        if self.reports is None:
            return
        with database.read() as connection:
            dropped = _dropped(connection, ids)
        self.reports.prepare(dropped)
        self._told.clear()
        self._told.update((one.id, one) for one in dropped)

    def apply(
        self,
        connection: Connection,
        touched: Sequence[Touched],
        now: datetime,  # noqa: ARG002 - Act's signature
    ) -> Sequence[Touched]:
        """Tell, and delete."""
        ids = [one.id for one in touched]
        if self.reports is not None:
            ids = [one.id for one in _dropped(connection, ids) if self._told.get(one.id) == one]
            self.reports.keep(connection, ids)
        r = delivery_recipients.c
        connection.execute(delete(delivery_recipients).where(r.delivery_id.in_(ids)))
        connection.execute(delete(deliveries).where(deliveries.c.id.in_(ids)))
        gone = set(ids)
        return [one for one in touched if one.id in gone]


def _dropped(connection: Connection, ids: Sequence[int]) -> list[Dropped]:
    d, r = deliveries.c, delivery_recipients.c
    recipients: dict[int, list[DroppedRecipient]] = {}
    for row in connection.execute(
        select(r.delivery_id, r.address, r.state, r.reply, r.notify, r.orcpt)
        .where(r.delivery_id.in_(ids))
        .order_by(r.id)
    ):
        one = DroppedRecipient(row.address, State(row.state), row.reply, row.notify, row.orcpt)
        recipients.setdefault(row.delivery_id, []).append(one)
    rows = connection.execute(
        select(
            d.id, d.message_id, d.domain, d.sender, d.smtputf8, d.envid, d.ret, d.attempts,
            d.created_at.label("arrived"), d.last_error,
        )
        .where(d.id.in_(ids))
        .order_by(d.id)
    )  # fmt: skip
    return [Dropped(recipients=tuple(recipients.get(row.id, ())), **row._mapping) for row in rows]
