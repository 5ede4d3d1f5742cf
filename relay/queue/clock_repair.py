"""Clock repair: finds and corrects times in the queue that a clock ahead has written.

A time further ahead than the longest possible wait is wrong.  Correction: waiting mail is due at
once; the life of mail created in the future begins now; a lease lapses when a new lease would; a
destination counts as alive, so that an attempt comes before any report.
The reading clock may itself be behind.  So `created_at` and failure times are corrected only by a
proven clock (a day without a jump): a later `created_at` only lets mail live longer, an earlier one
expires it.  Leases are judged by the database's own clock, which set them.  If the database has
none (SQLite), leases of other machines are never changed: their attempts would be made twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, false, literal, or_, select, update

from foundation.clock_watch import SLACK
from mailstore.db.dialect import skip_locked
from mailstore.db.schema import UtcTime
from mailstore.db.store_time import store_later
from relay.queue.retry import RetryPolicy
from relay.queue.schema import deliveries, destinations
from relay.smtp.outcome import State


@dataclass(frozen=True, slots=True)
class Waits:
    """Longest waits: for an attempt, for a probe of a dead destination, for the end of a lease."""

    retry: timedelta
    probe: timedelta
    lease: timedelta

    @classmethod
    def of(
        cls, retry: RetryPolicy, probing: RetryPolicy, probe: timedelta, lease: timedelta
    ) -> "Waits":
        """The waits of these policies; `probe`: time limit of a probe."""
        return cls(max(retry.max_wait, retry.max_unknown_wait), max(probing.max_wait, probe), lease)


@dataclass(frozen=True, slots=True)
class Reading:
    """A reading of the clock: `now`, read on machine `node`.

    `node`: only its leases may be shortened.  None: all machines' leases, judged by the clock of
    the database, which they share; a lease too far ahead was set when that clock was ahead.
    `proven`: the clock may correct `created_at` and failure times.
    """

    now: datetime
    node: str | None
    proven: bool


@dataclass(frozen=True, slots=True)
class Ahead:
    """Rows with times too far ahead: domains, numbers of deliveries, the furthest time."""

    domains: tuple[str, ...] = ()
    deliveries: tuple[int, ...] = ()
    furthest: datetime | None = None

    def __bool__(self) -> bool:
        return self.furthest is not None


def destinations_ahead(connection: Connection, now: datetime, waits: Waits) -> Ahead:
    """Find destinations that are dead for longer than possible."""
    c = destinations.c
    query = select(c.domain, c.dead_until).where(c.dead_until > now + waits.probe + SLACK)
    rows = connection.execute(query.order_by(c.domain)).all()
    domains = tuple(row.domain for row in rows)
    return Ahead(domains, furthest=max((row.dead_until for row in rows), default=None))


def repair_destinations(connection: Connection, now: datetime, waits: Waits) -> Ahead:
    """Declare these destinations alive, in the caller's transaction."""
    found = destinations_ahead(connection, now, waits)
    c = destinations.c
    connection.execute(
        update(destinations)
        .where(c.domain.in_(found.domains), c.dead_until > now + waits.probe + SLACK)
        .values(failures=0, dead_until=None)
    )
    return found


def any_due_ahead(connection: Connection, now: datetime, waits: Waits) -> bool:
    """Whether a delivery waits longer than possible; reads only the index of due times."""
    d = deliveries.c
    query = select(d.id).where(d.state == State.WAITING, d.due > now + waits.retry + SLACK)
    return connection.execute(query.limit(1)).first() is not None


@dataclass(frozen=True, slots=True)
class Slice:
    """Deliveries with a time too far ahead, and the number to read on from: None at the end."""

    keys: Sequence[int]
    last: int | None


def deliveries_ahead(
    connection: Connection, reading: Reading, waits: Waits, *, after: int, limit: int
) -> Slice:
    """Scan the next `limit` deliveries by number; return those with a time too far ahead."""
    d = deliveries.c
    part = (
        select(d.id, d.state, d.due, d.created_at, d.lease_owner, d.lease_until)
        .where(d.id > after)
        .order_by(d.id)
        .limit(limit)
    ).subquery()
    query = select(part.c.id).where(_ahead(part.c, reading, waits)).order_by(part.c.id)
    numbers = select(d.id).where(d.id > after).order_by(d.id)
    last = connection.scalar(numbers.offset(limit - 1).limit(1))
    return Slice(connection.scalars(query).all(), last)


def repair_deliveries(
    connection: Connection, keys: Sequence[int], reading: Reading, waits: Waits
) -> Ahead:
    """Correct the times still too far ahead in these rows, in the caller's transaction.

    Rows locked by others are left for the next time.
    """
    d, now = deliveries.c, reading.now
    due, born, leased = (
        _due_ahead(d, reading, waits),
        _born_ahead(d, reading),
        _lease_ahead(d, reading, waits),
    )
    instants = (
        case((due, d.due)).label("due"),
        case((born, d.created_at)).label("created_at"),
        case((leased, d.lease_until)).label("lease_until"),
    )
    query = select(d.id, *instants).where(d.id.in_(keys), or_(due, born, leased)).order_by(d.id)
    rows = connection.execute(skip_locked(query)).all()
    begins, lapses = literal(now, UtcTime()), store_later(now, waits.lease)
    connection.execute(
        update(deliveries)
        .where(d.id.in_([row.id for row in rows]))
        .values(
            due=case((due, begins), else_=d.due),
            created_at=case((born, begins), else_=d.created_at),
            lease_until=case((leased, lapses), else_=d.lease_until),
        )
    )
    ahead = [at for row in rows for at in row[1:] if at is not None]
    return Ahead(deliveries=tuple(row.id for row in rows), furthest=max(ahead, default=None))


def _ahead(d: Any, reading: Reading, waits: Waits) -> ColumnElement[bool]:
    return or_(
        _due_ahead(d, reading, waits), _born_ahead(d, reading), _lease_ahead(d, reading, waits)
    )


def _due_ahead(d: Any, reading: Reading, waits: Waits) -> ColumnElement[bool]:
    """In a failed delivery `due` is the failure time, not a wait (`relay.queue_admin.expiry`)."""
    waiting = and_(d.state == State.WAITING, d.due > reading.now + waits.retry + SLACK)
    if not reading.proven:
        return waiting
    return or_(waiting, and_(d.state != State.WAITING, d.due > reading.now + SLACK))


def _born_ahead(d: Any, reading: Reading) -> ColumnElement[bool]:
    return d.created_at > reading.now + SLACK if reading.proven else false()


def _lease_ahead(d: Any, reading: Reading, waits: Waits) -> ColumnElement[bool]:
    ahead: ColumnElement[bool] = d.lease_until > store_later(reading.now, waits.lease + SLACK)
    if reading.node is None:
        return ahead
    return and_(d.lease_owner.startswith(f"{reading.node}:", autoescape=True), ahead)
