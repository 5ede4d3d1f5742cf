"""Deleting deliveries, and the reports on it to their senders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ClassVar, Final

from sqlalchemy import Connection, delete, select

from mailstore.db.database import Database
from relay.dsn.bouncer import Bouncer, Report
from relay.queue.leases import load_claims
from relay.queue.model import Claim, Lease
from relay.queue.schema import deliveries, delivery_recipients
from relay.queue_admin.actions import Act, Touched, Work
from relay.smtp.outcome import State

REPORTS: Final = 100  # deliveries in a transaction that also has reports to keep


@dataclass(frozen=True, slots=True)
class DropReports:
    """Reports written before the transaction: the deliveries as they were, and their reports.

    By lease a report, or None if nobody is to be told; a lease lacks if no report could be written.
    """

    seen: Mapping[int, Claim] = field(default_factory=dict)
    reports: Mapping[Lease, Report | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drop(Act[DropReports]):
    """Deleted; with a `teller`, in the very transaction that keeps the report to its sender.

    Those who got it, or of whom the sender was told that they would not, are not told of again: so
    there is no report on what failed.  What changed since its report was written is left alone, for
    the report would be wrong, and so is what no report could be written of.
    """

    event: ClassVar[str] = "queue.dropped"
    tells: ClassVar[bool] = True

    teller: Bouncer | None = None

    @property
    def batch(self) -> int:
        """Fewer where each brings a message along."""
        return super(Drop, self).batch if self.teller is None else REPORTS

    def prepare(self, database: Database, ids: Sequence[int], now: datetime) -> DropReports:
        """Have the reports written.  Raises StoreUnavailable."""
        if self.teller is None:
            return DropReports()
        with database.read() as connection:
            seen = _untold(connection, ids)
        return DropReports(seen, self.teller.compose_dropped(list(seen.values()), now))

    def apply(self, work: Work[DropReports]) -> Sequence[Touched]:
        """Keep the reports, and delete."""
        touched = work.touched if self.teller is None else _tell(self.teller, work)
        ids = [one.id for one in touched]
        r = delivery_recipients.c
        work.connection.execute(delete(delivery_recipients).where(r.delivery_id.in_(ids)))
        work.connection.execute(delete(deliveries).where(deliveries.c.id.in_(ids)))
        return touched


def _tell(teller: Bouncer, work: Work[DropReports]) -> Sequence[Touched]:
    """Keep the reports; returns the deliveries that are to be deleted."""
    prepared, there = work.prepared, _untold(work.connection, work.ids)
    gone: list[Touched] = []
    kept: list[Report] = []
    for one in work.touched:
        seen = prepared.seen.get(one.id)
        if there.get(one.id) != seen or (seen is not None and seen.lease not in prepared.reports):
            continue
        report = None if seen is None else prepared.reports[seen.lease]
        if report is not None:
            kept.append(report)
        gone.append(one if report is None else replace(one, report=report[0].id))
    if kept:
        teller.insert(work.connection, kept, work.now)
    return gone


def _untold(connection: Connection, ids: Sequence[int]) -> dict[int, Claim]:
    """Deliveries whose senders do not know yet, with the recipients who wait."""
    d = deliveries.c
    waiting = select(d.id).where(d.id.in_(ids), d.state == State.WAITING)
    keys = connection.scalars(waiting).all()
    return {one.id: one for one in load_claims(connection, "", keys)}
