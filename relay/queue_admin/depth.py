"""How much is in the queue, measured a slice at a time so that no reader is kept long.

A queue of a million takes as many rows to be read whatever asks for their number.  So it is read on
by number, some thousands at once, and what asks (a scrape, a probe of readiness) is given what the
last whole round found: exact for what did not change meanwhile.  `mssante queue summary` counts at
one moment.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, select

from relay.queue.model import DestinationTable, Traffic
from relay.queue.schema import deliveries
from relay.queue_admin.filter import Standing

SLICE: Final = 5000  # deliveries read at once: some milliseconds


@dataclass(frozen=True, slots=True)
class Depth:
    """What a round that ended at a time found.

    `deliveries` by how they stand, of which `unreadable` are held since their bodies cannot be
    read; of those neither held nor failed how many are `waiting`
    by operator, and the birth of the `oldest` by class; how many destinations are `dead` and how
    many `paused`, by operator, and whether all are.
    """

    at: datetime
    deliveries: Mapping[Standing, int]
    waiting: Mapping[str, int]
    oldest: Mapping[Traffic, datetime]
    dead: Mapping[str, int]
    paused: Mapping[str, int]
    all_paused: bool
    unreadable: int = 0


@dataclass(slots=True)
class Tally:
    """One round over the queue; `after` is the number from which to read on."""

    after: int = 0
    _deliveries: Counter[Standing] = field(default_factory=Counter)
    _unreadable: int = 0
    _waiting: Counter[str] = field(default_factory=Counter)
    _oldest: dict[Traffic, datetime] = field(default_factory=dict)

    def read(self, connection: Connection, limit: int = SLICE) -> bool:
        """Count the next slice; False if it was the last."""
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
            standing = Standing.of(row.state, "" if row.is_held else None)
            self._deliveries[standing] += row.number
            if standing is Standing.HELD and row.unreadable:
                self._unreadable += row.number
            if standing is Standing.WAITING:
                traffic = Traffic(row.traffic)
                self._waiting[row.domain] += row.number
                self._oldest[traffic] = min(self._oldest.get(traffic, row.oldest), row.oldest)
        self.after = max((row.last for row in found), default=self.after)
        return bool(sum(row.number for row in found) == limit)

    def depth(
        self, known: DestinationTable, now: datetime, operator_of: Callable[[str], str]
    ) -> Depth:
        """What the round found; `operator_of` gives the label of a domain's operator."""

        def by_operator(numbers: Mapping[str, int]) -> Mapping[str, int]:
            found: Counter[str] = Counter()
            for domain, number in numbers.items():
                found[operator_of(domain)] += number
            return found

        rows = known.by_domain.items()
        return Depth(
            at=now,
            deliveries={standing: self._deliveries[standing] for standing in Standing},
            waiting=by_operator(self._waiting),
            oldest=self._oldest,
            dead=by_operator({domain: 1 for domain, one in rows if one.dead_until is not None}),
            paused=by_operator({domain: 1 for domain, one in rows if one.paused}),
            all_paused=known.all_paused,
            unreadable=self._unreadable,
        )
