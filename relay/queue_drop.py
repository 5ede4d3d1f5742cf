"""Deleting deliveries, and the reports on it to their senders."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, select

from mailstore.database import Database
from relay.queue import Claim, Lease, State, load_claims
from relay.queue_control import Act, Touched
from relay.queue_schema import deliveries, delivery_recipients
from relay.telling import Report, Teller

REPORTS: Final = 100  # deliveries in a transaction that also has reports to keep


@dataclass(frozen=True, slots=True)
class Drop(Act):
    """Deleted; with a `teller`, in the very transaction that keeps the report to its sender.

    Those who got it, or of whom the sender was told that they would not, are not told of again: so
    there is no report on what failed.  What changed since its report was written is left alone, for
    the report would be wrong, and so is what no report could be written of.
    """

    teller: Teller | None = None
    _seen: dict[int, Claim] = field(default_factory=dict, init=False, repr=False)
    _reports: dict[Lease, Report | None] = field(default_factory=dict, init=False, repr=False)

    @property
    def batch(self) -> int:
        """Fewer where each brings a message along."""
        return super(Drop, self).batch if self.teller is None else REPORTS

    def prepare(self, database: Database, ids: Sequence[int], now: datetime) -> None:
        """Have the reports written.  Raises StoreUnavailable."""
        if self.teller is None:
            return
        self._seen.clear()
        self._reports.clear()
        with database.read() as connection:
            self._seen.update(_untold(connection, ids))
        self._reports.update(self.teller.prepare_dropped(list(self._seen.values()), now))

    def apply(
        self, connection: Connection, touched: Sequence[Touched], now: datetime
    ) -> Sequence[Touched]:
        """Tell, and delete."""
        if self.teller is not None:
            touched = self._tell(self.teller, connection, touched, now)
        ids = [one.id for one in touched]
        r = delivery_recipients.c
        connection.execute(delete(delivery_recipients).where(r.delivery_id.in_(ids)))
        connection.execute(delete(deliveries).where(deliveries.c.id.in_(ids)))
        return touched

    def _tell(
        self, teller: Teller, connection: Connection, touched: Sequence[Touched], now: datetime
    ) -> Sequence[Touched]:
        """Keep the reports; returns those that are to be deleted."""
        there = _untold(connection, [one.id for one in touched])
        gone: list[Touched] = []
        kept: list[Report] = []
        for one in touched:
            seen = self._seen.get(one.id)
            if there.get(one.id) != seen or (seen is not None and seen.lease not in self._reports):
                continue
            report = None if seen is None else self._reports[seen.lease]
            if report is not None:
                kept.append(report)
            gone.append(one if report is None else replace(one, report=report[0].id))
        if kept:
            teller.keep(connection, kept, now)
        return gone


def _untold(connection: Connection, ids: Sequence[int]) -> dict[int, Claim]:
    """Deliveries whose senders do not know yet, with the recipients who wait."""
    d = deliveries.c
    waiting = select(d.id).where(d.id.in_(ids), d.state == State.WAITING)
    keys = connection.scalars(waiting).all()
    return {one.id: one for one in load_claims(connection, "", keys)}
