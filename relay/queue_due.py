"""What of the queue is due, read a little at a time whatever its length (docs/decisions/0020).

Nothing here walks the table.  `lanes_with_mail` and `turn_of_senders` jump through the index of
what waits from one destination or sender to the next; `newest` reads the end of the index of what
is due; `overdue` reads on from a number.  What is read here is a hint: `relay.queue.claim` decides.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, literal_column, select

from relay.queue import State, Traffic
from relay.queue_schema import deliveries

_D: Final = deliveries.c
# Written out, not bound: databases use the partial index only where they see that it applies.
_WAITS: Final = and_(_D.state == literal_column("'waiting'"), _D.held.is_(None))


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that may be tried; `fresh` if it never was."""

    id: int
    traffic: Traffic
    domain: str
    sender: str
    fresh: bool


def lanes_with_mail(connection: Connection, traffic: Traffic) -> list[str]:
    """The destinations for which mail of a class waits, due or not, by name."""
    of_class = and_(_WAITS, _D.traffic == traffic)
    steps = _steps(_D.domain, of_class, None, limit=None)
    return list(connection.scalars(select(steps).where(steps.is_not(None))))


@dataclass(frozen=True, slots=True)
class Turn:
    """What was found, and the sender that was looked at last: None when there were no more."""

    found: list[Due]
    last: str | None


def turn_of_senders(
    connection: Connection,
    traffic: Traffic,
    domain: str,
    *,
    after: str | None,
    now: datetime,
    senders: int,
    most: int,
) -> Turn:
    """The first due deliveries of each of the next `senders` that wait for a destination.

    They come by name, from the first or `after` one, and share `most` rows evenly; what they have
    need not be due.
    """
    lane = and_(_WAITS, _D.traffic == traffic, _D.domain == domain)
    step = _steps(_D.sender, lane, after, limit=senders)
    names = list(connection.scalars(select(step).where(step.is_not(None))))
    each = -(-most // max(len(names), 1))
    found = []
    for name in names:
        heads = (
            select(_D.id, _D.traffic, _D.domain, _D.sender, _D.attempts)
            .where(lane, _D.sender == name, _D.due <= now)
            .order_by(_D.due, _D.id)
            .limit(each)
        )
        found += _due(connection, heads)
    return Turn(found, names[-1] if len(names) == senders else None)


def newest(connection: Connection, now: datetime, limit: int) -> list[Due]:
    """The deliveries that became due last, among them all mail that has just come."""
    last = (
        select(_D.id, _D.traffic, _D.domain, _D.sender, _D.attempts, _D.held)
        .where(_D.state == State.WAITING, _D.due <= now)
        .order_by(_D.due.desc(), _D.id.desc())
        .limit(limit)
    )
    return _due(connection, last, lambda row: row.held is None)


@dataclass(frozen=True, slots=True)
class Overdue:
    """Deliveries that are late, and the number from which to read on: None when that is all."""

    keys: list[int]
    last: int | None


def overdue(
    connection: Connection,
    *,
    after: int,
    before: datetime,
    limit: int,
    since: datetime | None = None,
    domains: Collection[str] | None = None,
    untold: bool = False,
) -> Overdue:
    """Of the next `limit` deliveries by number, those that wait and were queued `before` a time.

    Not those from before `since`, only for `domains`, if given; only those whose senders do not
    know, if `untold`.  Numbers grow with time, so that reading ends where the younger ones begin.
    """
    rows = connection.execute(
        select(_D.id, _D.created_at, _D.state, _D.held, _D.domain, _D.delay_told)
        .where(_D.id > after)
        .order_by(_D.id)
        .limit(limit)
    ).all()
    keys = [
        row.id
        for row in rows
        if row.created_at <= before
        and (since is None or row.created_at > since)
        and row.state == State.WAITING
        and row.held is None
        and not (untold and row.delay_told)
        and (domains is None or row.domain in domains)
    ]
    ended = len(rows) < limit or rows[-1].created_at > before
    return Overdue(keys, None if ended else rows[-1].id)


def _steps(
    column: ColumnElement[Any], where: ColumnElement[bool], after: str | None, limit: int | None
) -> ColumnElement[Any]:
    """A column of the values of `column` in their order, found by a jump of the index for each."""

    def following(than: ColumnElement[Any] | str | None) -> Any:
        query = select(column).where(where)
        if than is not None:
            query = query.where(column > than)
        return query.order_by(column).limit(1).scalar_subquery()

    walk = select(following(after).label("value"), literal_column("1").label("number")).cte(
        "walk", recursive=True
    )
    more: ColumnElement[bool] = walk.c.value.is_not(None)
    if limit is not None:
        more = and_(more, walk.c.number < limit)
    walk = walk.union_all(
        select(following(walk.c.value), walk.c.number + 1).where(more).select_from(walk)
    )
    found: ColumnElement[Any] = walk.c.value
    return found


def _due(
    connection: Connection, query: Select[Any], wanted: Callable[[Any], bool] = lambda _: True
) -> list[Due]:
    return [
        Due(row.id, Traffic(row.traffic), row.domain, row.sender, row.attempts == 0)
        for row in connection.execute(query)
        if wanted(row)
    ]
