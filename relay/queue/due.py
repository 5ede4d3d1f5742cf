"""Due deliveries, read in small parts whatever the length of the queue (docs/decisions/0020).

No full table scan.  `destinations_with_mail` and `due_by_sender` jump through the index of waiting
mail, from one destination or sender to the next.  `newest` reads the end of the index of due mail.
`find_late_or_expired` reads a slice of rows by number.  Each result is only a hint:
`relay.queue.leases.claim` decides.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    literal_column,
    or_,
    select,
)

from foundation.clock_watch import SLACK
from mailstore.db.sealed_columns import raw
from mailstore.db.store_time import store_now
from relay.queue.destinations import read_destinations
from relay.queue.model import ALL, Due, Newest, QueueSnapshot, Traffic, Visit
from relay.queue.retry import RetryPolicy
from relay.queue.schema import deliveries, destinations
from relay.smtp.outcome import State

NEWEST: Final = 100
SENDERS: Final = 16  # senders per visit
VISITED: Final = 128  # deliveries per visit
ENOUGH: Final = 250  # deliveries per read of the queue; then no further destination is visited

_D: Final = deliveries.c
# As stored: a sealed sender serves as well for fairness, also if its key is missing.
_SENDER: Final = raw(_D.sender)
# Literals, not bound parameters: otherwise databases do not see that the partial index applies.
_WAITS: Final = and_(_D.state == literal_column("'waiting'"), _D.held.is_(None))


def _steps(
    column: ColumnElement[str],
    where: ColumnElement[bool],
    after: ColumnElement[str] | None = None,
    limit: ColumnElement[int] | None = None,
) -> Select[Any]:
    """Distinct values of `column` in order, from the first or after `after`, at most `limit`.

    Each value costs one jump in the index.
    """

    def following(than: ColumnElement[str] | None) -> Any:
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
    return select(walk.c.value).where(walk.c.value.is_not(None))


# Built once: a courier runs these all the time.
_OF_CLASS: Final = and_(_WAITS, _D.traffic == bindparam("traffic"))
_OF_DESTINATION: Final = and_(_OF_CLASS, _D.domain == bindparam("domain"))
_LIMIT: Final = bindparam("limit", type_=Integer())
_DESTINATIONS: Final = _steps(_D.domain, _OF_CLASS)
_SENDERS: Final = _steps(_SENDER, _OF_DESTINATION, limit=_LIMIT)
_SENDERS_AFTER: Final = _steps(_SENDER, _OF_DESTINATION, bindparam("after", type_=Text()), _LIMIT)
_HEAD: Final = (
    select(_D.id, _D.traffic, _D.domain, _SENDER.label("sender"), _D.attempts)
    .where(_OF_DESTINATION, bindparam("sender") == _SENDER, _D.due <= bindparam("now"))
    .order_by(_D.due, _D.id)
    .limit(bindparam("each"))
)
_NEWEST: Final = (
    select(_D.id, _D.traffic, _D.domain, _SENDER.label("sender"), _D.attempts, _D.held)
    .where(_D.state == State.WAITING, _D.due <= bindparam("now"))
    .order_by(_D.due.desc(), _D.id.desc())
    .limit(bindparam("limit"))
)


def destinations_with_mail(connection: Connection, traffic: Traffic) -> list[str]:
    """Return the destinations with waiting mail of a class, due or not, in order of name."""
    return list(connection.scalars(_DESTINATIONS, {"traffic": traffic}))


@dataclass(frozen=True, slots=True)
class DueBySender:
    """Deliveries found, and the last sender read: None if there are no more senders."""

    found: list[Due]
    last: str | None


def due_by_sender(
    connection: Connection,
    traffic: Traffic,
    domain: str,
    *,
    after: str | None,
    now: datetime,
    senders: int,
    limit: int,
) -> DueBySender:
    """Read the first due deliveries of each of the next `senders` of a destination.

    Senders come in order of name, from the first or after `after`, whether their mail is due or
    not.  They share `limit` rows evenly.
    """
    destination = {"traffic": traffic, "domain": domain}
    more = {"limit": senders} if after is None else {"limit": senders, "after": after}
    walk = _SENDERS if after is None else _SENDERS_AFTER
    names = list(connection.scalars(walk, destination | more))
    each = -(-limit // max(len(names), 1))
    found = []
    for name in names:
        head = destination | {"sender": name, "now": now, "each": each}
        found += _due(connection.execute(_HEAD, head))
    return DueBySender(found, names[-1] if len(names) == senders else None)


def newest(connection: Connection, now: datetime, limit: int) -> Newest:
    """Read the `limit` deliveries that became due last; new mail is among them."""
    rows = connection.execute(_NEWEST, {"now": now, "limit": limit}).all()
    found = _due(row for row in rows if row.held is None)
    return Newest(found, frozenset(row.id for row in rows), full=len(rows) == limit)


def read_queue(
    connection: Connection,
    now: datetime,
    visits: Sequence[Visit],
    *,
    round_due: bool,
    with_newest: bool,
) -> QueueSnapshot:
    """Read due deliveries of these destinations, as many as one iteration can use.

    `with_newest`: also read the rows of destinations and the newest mail.  `round_due`: also read
    the list of destinations with waiting mail.
    """
    visited: dict[Visit, str | None] = {}
    found: list[Due] = []
    for visit in visits:
        if len(found) >= ENOUGH:
            visited[visit] = visit.after  # not read this time: next time from the same sender on
            continue
        turn = due_by_sender(
            connection,
            visit.traffic,
            visit.domain,
            after=visit.after,
            now=now,
            senders=SENDERS,
            limit=VISITED,
        )
        visited[visit] = turn.last
        found += turn.found
    return QueueSnapshot(
        known=read_destinations(connection) if with_newest else None,
        newest=newest(connection, now, NEWEST) if with_newest else Newest(),
        visited=visited,
        found=found,
        destinations={t: destinations_with_mail(connection, t) for t in Traffic}
        if round_due
        else None,
    )


@dataclass(frozen=True, slots=True)
class LateOrExpired:
    """Late or expired deliveries, and the number to read on from: None at the end of the queue."""

    keys: list[int]
    last: int | None


def find_late_or_expired(
    connection: Connection,
    policy: RetryPolicy,
    now: datetime,
    *,
    steady_now: datetime | None = None,
    longest: timedelta,
    after: int,
    slice_size: int,
    limit: int,
) -> LateOrExpired:
    """Scan the next `slice_size` deliveries by number; return up to `limit` late or expired ones.

    Returned are waiting deliveries, not leased, not held by a person or rule, that are:
    (a) late, at any destination, and their sender has no delay report yet;
    (b) expired, at a destination that is dead and not paused (elsewhere the next attempt reports
        it; during a pause nothing expires);
    (c) expired with an unreadable body, for which no attempt will come, unless paused.
    A destination counts as dead only until its next probe: mail must not expire for an old error.
    A death dated further ahead than `longest`, the longest wait for a probe, is ignored: the clock
    that wrote it was wrong.
    `steady_now`: steady clock (`foundation.clock_watch`) for the age of mail; `now` by default.
    """
    part = (
        select(
            _D.id, _D.created_at, _D.state, _D.held, _D.unreadable, _D.domain, _D.delay_told,
            _D.lease_until,
        )
        .where(_D.id > after)
        .order_by(_D.id)
        .limit(slice_size)
        .subquery()
    ).c  # fmt: skip
    at = destinations.c
    dead = at.dead_until > now, at.dead_until <= now + longest + SLACK
    dead_domains = select(at.domain).where(*dead, at.paused.is_(None))
    all_paused = select(at.domain).where(at.domain == ALL, at.paused.is_not(None))
    steady_now = now if steady_now is None else steady_now
    end = steady_now - policy.life
    late = and_(
        ~part.delay_told,
        part.created_at <= steady_now - policy.delay_warning,
        part.created_at > end,
    )
    paused = select(at.domain).where(at.paused.is_not(None))
    given_up = or_(part.domain.in_(dead_domains), and_(part.unreadable, part.domain.not_in(paused)))
    over = and_(part.created_at <= end, given_up, ~all_paused.exists())
    query = (
        select(part.id)
        .where(
            part.state == State.WAITING, or_(part.held.is_(None), part.unreadable), or_(late, over)
        )
        .where(or_(part.lease_until.is_(None), part.lease_until <= store_now(now)))
        .order_by(part.id)
        .limit(limit)
    )
    keys = list(connection.scalars(query))
    if len(keys) == limit:
        return LateOrExpired(keys, keys[-1])
    by_number = select(_D.id).where(_D.id > after).order_by(_D.id)
    return LateOrExpired(keys, connection.scalar(by_number.offset(slice_size - 1).limit(1)))


def _due(rows: Iterable[Any]) -> list[Due]:
    return [
        Due(row.id, Traffic(row.traffic), row.domain, row.sender, row.attempts == 0) for row in rows
    ]
