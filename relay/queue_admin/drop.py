"""Deleting deliveries, with DSNs to their senders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ClassVar, Final

from sqlalchemy import Connection, delete, select

from mailstore.db.database import Database
from relay.dsn.writer import DsnWriter, Report
from relay.queue.leases import load_claims
from relay.queue.model import Claim, Lease
from relay.queue.schema import deliveries, delivery_recipients
from relay.queue_admin.actions import ActionBatch, ChangedDelivery, QueueAction
from relay.smtp.outcome import State

REPORTS: Final = 100  # deliveries in a transaction that also stores DSNs


@dataclass(frozen=True, slots=True)
class DropReports:
    """DSNs written before the transaction, and the deliveries as they were then.

    By lease: a DSN, or None if the sender wants none; a lease is missing if no DSN could be
    written.
    """

    seen: Mapping[int, Claim] = field(default_factory=dict)
    reports: Mapping[Lease, Report | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DropAction(QueueAction[DropReports]):
    """Delete deliveries; with a `dsn_writer`, in the same transaction that stores the sender's DSN.

    The DSN leaves out recipients that got the message and recipients that a DSN has already
    reported: so a failed delivery gets none.  A delivery that changed since its DSN was written is
    left alone, since the DSN would be wrong; so is a delivery whose DSN could not be written.
    """

    event: ClassVar[str] = "queue.dropped"
    tells: ClassVar[bool] = True

    dsn_writer: DsnWriter | None = None

    @property
    def batch(self) -> int:
        """Fewer deliveries if each may bring a DSN."""
        return super(DropAction, self).batch if self.dsn_writer is None else REPORTS

    def prepare(self, database: Database, ids: Sequence[int], now: datetime) -> DropReports:
        """Write the DSNs.  Raises StoreUnavailable."""
        if self.dsn_writer is None:
            return DropReports()
        with database.read() as connection:
            seen = _untold(connection, ids)
        known = [one for one in seen.values() if one.readable]
        return DropReports(seen, self.dsn_writer.compose_dropped(known, now))

    def apply(self, work: ActionBatch[DropReports]) -> Sequence[ChangedDelivery]:
        """Store the DSNs and delete the deliveries."""
        touched = work.changed if self.dsn_writer is None else _tell(self.dsn_writer, work)
        ids = [one.id for one in touched]
        r = delivery_recipients.c
        work.connection.execute(delete(delivery_recipients).where(r.delivery_id.in_(ids)))
        work.connection.execute(delete(deliveries).where(deliveries.c.id.in_(ids)))
        return touched


def _tell(dsn_writer: DsnWriter, work: ActionBatch[DropReports]) -> Sequence[ChangedDelivery]:
    """Store the DSNs; returns the deliveries to be deleted."""
    prepared, there = work.prepared, _untold(work.connection, work.ids)
    gone: list[ChangedDelivery] = []
    kept: list[Report] = []
    for one in work.changed:
        seen = prepared.seen.get(one.id)
        if there.get(one.id) != seen or (seen is not None and seen.lease not in prepared.reports):
            continue
        report = None if seen is None else prepared.reports[seen.lease]
        if report is not None:
            kept.append(report)
        gone.append(one if report is None else replace(one, report=report[0].id))
    if kept:
        dsn_writer.insert(work.connection, kept, work.now)
    return gone


def _untold(connection: Connection, ids: Sequence[int]) -> dict[int, Claim]:
    """Deliveries whose senders have no final DSN yet, with their waiting recipients."""
    d = deliveries.c
    waiting = select(d.id).where(d.id.in_(ids), d.state == State.WAITING)
    keys = connection.scalars(waiting).all()
    return {one.id: one for one in load_claims(connection, "", keys)}
