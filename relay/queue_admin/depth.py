"""The depth of the queue, measured a slice at a time so that no reader runs long.

Any count over a queue of a million reads a million rows.  So the queue is read on by number, some
thousands at a time, and a scrape or a readiness probe gets the result of the last complete round:
exact for rows that did not change meanwhile.  `mssante queue summary` counts at one moment.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, select

from relay.queue.model import DestinationTable, Traffic
from relay.queue.schema import deliveries
from relay.queue_admin.filter import DeliveryStatus

SLICE: Final = 5000  # deliveries per read: some milliseconds


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """The result of a round that ended `at` a time.

    `deliveries` by state; `unreadable` counts the held ones whose bodies cannot be read.  Of the
    waiting ones: `waiting` counts by operator, `oldest` is the time of the oldest by class.  `dead`
    and `paused` count destinations by operator; `all_paused`: everything is paused.
    """

    at: datetime
    deliveries: Mapping[DeliveryStatus, int]
    waiting: Mapping[str, int]
    oldest: Mapping[Traffic, datetime]
    dead: Mapping[str, int]
    paused: Mapping[str, int]
    all_paused: bool
    unreadable: int = 0


@dataclass(slots=True)
class DepthCount:
    """A round over the queue; `after` is the number after which to read on."""

    after: int = 0
    _deliveries: Counter[DeliveryStatus] = field(default_factory=Counter)
    _unreadable: int = 0
    _waiting: Counter[str] = field(default_factory=Counter)
    _oldest: dict[Traffic, datetime] = field(default_factory=dict)

    def read(self, connection: Connection, limit: int = SLICE) -> bool:
        """Count the next slice; False if that was the last."""
        d = deliveries.c
        part = (
            select(
                d.id, d.state, d.held.is_not(None).label("is_held"), d.traffic, d.domain,
                d.created_at, d.unreadable,
            )
            .where(d.id > self.after)
            .order_by(d.id)
            .limit(limit)
            .subquery()
        ).c  # fmt: skip
        groups = (part.state, part.is_held, part.unreadable, part.traffic, part.domain)
        found = connection.execute(
            select(
                *groups,
                func.count().label("number"),
                func.min(part.created_at).label("oldest"),
                func.max(part.id).label("last"),
            ).group_by(*groups)
        ).all()
        for row in found:
            standing = DeliveryStatus.of(row.state, "" if row.is_held else None)
            self._deliveries[standing] += row.number
            if standing is DeliveryStatus.HELD and row.unreadable:
                self._unreadable += row.number
            if standing is DeliveryStatus.WAITING:
                traffic = Traffic(row.traffic)
                self._waiting[row.domain] += row.number
                self._oldest[traffic] = min(self._oldest.get(traffic, row.oldest), row.oldest)
        self.after = max((row.last for row in found), default=self.after)
        return bool(sum(row.number for row in found) == limit)

    def depth(
        self, known: DestinationTable, now: datetime, operator_of: Callable[[str], str]
    ) -> QueueDepth:
        """The result of the round; `operator_of` gives the label of a domain's operator."""

        def by_operator(numbers: Mapping[str, int]) -> Mapping[str, int]:
            found: Counter[str] = Counter()
            for domain, number in numbers.items():
                found[operator_of(domain)] += number
            return found

        rows = known.by_domain.items()
        return QueueDepth(
            at=now,
            deliveries={standing: self._deliveries[standing] for standing in DeliveryStatus},
            waiting=by_operator(self._waiting),
            oldest=self._oldest,
            dead=by_operator({domain: 1 for domain, one in rows if one.dead_until is not None}),
            paused=by_operator({domain: 1 for domain, one in rows if one.paused}),
            all_paused=known.all_paused,
            unreadable=self._unreadable,
        )
