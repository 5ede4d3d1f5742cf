"""What an operator does to deliveries: send now, hold, release; `drop` deletes them.

An act works through what a filter matches in transactions of `BATCH` deliveries, so that a million
of them never keeps the daemon's writers waiting for more than a moment.  What is looked for in a
transaction that only reads is looked at again, and locked, in the one that changes it.  A delivery
in flight is left alone: a courier has it in its hands, and may be about to hear the peer's `250`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, true, update

from mailstore.db.database import Database
from mailstore.db.dialect import skip_locked, take_your_time
from mailstore.db.store_time import store_now
from relay.queue.schema import deliveries, delivery_recipients
from relay.queue.wakeup import announce, signal
from relay.queue_admin.filter import Filter, Standing
from relay.smtp.outcome import State

BATCH: Final = 2000

Prepared = TypeVar("Prepared")


@dataclass(frozen=True, slots=True)
class Touched:
    """A delivery that an act has changed; `report` is the id of that to its sender, if one is."""

    id: int
    message_id: str
    domain: str
    was: Standing
    report: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a batch: the deliveries changed, and how many were in flight and are not."""

    touched: tuple[Touched, ...]
    in_flight: int


@dataclass(frozen=True, slots=True)
class Work(Generic[Prepared]):
    """A transaction of an act: its deliveries, locked, and what was prepared for them."""

    connection: Connection
    touched: Sequence[Touched]
    now: datetime
    prepared: Prepared

    @property
    def ids(self) -> list[int]:
        """The numbers of the deliveries."""
        return [one.id for one in self.touched]


class Act(Generic[Prepared]):
    """Something done to deliveries; `event` is its name in the journal.

    It `revives` destinations if mail that it touched is to be tried even at a dead one; it `tells`
    if it may write reports to senders.
    """

    event: ClassVar[str]
    revives: ClassVar[bool] = False
    tells: ClassVar[bool] = False

    def eligible(self) -> ColumnElement[bool]:
        """The deliveries that it makes sense for."""
        return true()

    @property
    def batch(self) -> int:
        """How many deliveries to change in a transaction."""
        return BATCH

    def prepare(self, database: Database, ids: Sequence[int], now: datetime) -> Prepared:
        """Do what takes time, before the transaction; `apply` gets the result as `prepared`."""
        raise NotImplementedError

    def apply(self, work: Work[Prepared]) -> Sequence[Touched]:
        """Do it in the transaction; returns the deliveries that it was done to."""
        raise NotImplementedError


class PlainAct(Act[None]):
    """An act that needs nothing prepared."""

    def prepare(self, database: Database, ids: Sequence[int], now: datetime) -> None:
        """Nothing to do."""


@dataclass(frozen=True, slots=True)
class Retry(PlainAct):
    """Due now.  With `revive` also what failed: it waits again, with a new life and all attempts.

    What is held stays so.
    """

    event: ClassVar[str] = "queue.retried"
    revives: ClassVar[bool] = True

    revive: bool = False

    def eligible(self) -> ColumnElement[bool]:
        """What waits, and what failed if that is to live again."""
        waits = Standing.WAITING.condition
        return or_(waits, Standing.FAILED.condition) if self.revive else waits

    def apply(self, work: Work[None]) -> Sequence[Touched]:
        """Set the time; for those that failed begin anew."""
        d, r = deliveries.c, delivery_recipients.c
        connection, now = work.connection, work.now
        connection.execute(update(deliveries).where(d.id.in_(work.ids)).values(due=now))
        failed = [one.id for one in work.touched if one.was is Standing.FAILED]
        if not failed:
            return work.touched
        connection.execute(
            update(deliveries)
            .where(d.id.in_(failed))
            .values(
                state=State.WAITING, attempts=0, created_at=now, held=None, unreadable=False,
                delay_told=False, unknown_outcomes=0,
                lease_owner=None, lease_until=None, lease_token=None,
            )
        )  # fmt: skip
        connection.execute(
            update(delivery_recipients)
            .where(r.delivery_id.in_(failed), r.state == State.FAILED)
            .values(state=State.WAITING)
        )
        return work.touched


@dataclass(frozen=True, slots=True)
class Hold(PlainAct):
    """Not sent until released."""

    event: ClassVar[str] = "queue.held"

    reason: str

    def eligible(self) -> ColumnElement[bool]:
        """Waiting deliveries, and those held for their bodies; a person's hold keeps its reason."""
        return or_(
            Standing.WAITING.condition, and_(Standing.HELD.condition, deliveries.c.unreadable)
        )

    def apply(self, work: Work[None]) -> Sequence[Touched]:
        """Note the reason."""
        chosen = deliveries.c.id.in_(work.ids)
        work.connection.execute(
            update(deliveries).where(chosen).values(held=self.reason, unreadable=False)
        )
        return work.touched


@dataclass(frozen=True, slots=True)
class Release(PlainAct):
    """Held no more, and due now."""

    event: ClassVar[str] = "queue.released"

    def eligible(self) -> ColumnElement[bool]:
        """What is held."""
        return Standing.HELD.condition

    def apply(self, work: Work[None]) -> Sequence[Touched]:
        """Forget the reason."""
        chosen = deliveries.c.id.in_(work.ids)
        work.connection.execute(
            update(deliveries).where(chosen).values(held=None, unreadable=False, due=work.now)
        )
        return work.touched


def count(connection: Connection, wanted: Filter, now: datetime) -> dict[Standing, int]:
    """How many deliveries a filter matches, by how they stand."""
    d = deliveries.c
    take_your_time(connection)
    statement = (
        select(d.state, d.held.is_not(None).label("is_held"), func.count().label("number"))
        .where(*wanted.conditions(now))
        .group_by(d.state, d.held.is_not(None))
    )
    found = dict.fromkeys(Standing, 0)
    for row in connection.execute(statement):
        found[Standing.of(row.state, "" if row.is_held else None)] += row.number
    return found


def work_through(
    database: Database,
    act: Act[Prepared],
    wanted: Filter,
    clock: Callable[[], datetime],
    *,
    batch: int | None = None,
) -> Iterator[Done]:
    """Do something to all that a filter matches now, a transaction for each of what is yielded.

    What comes meanwhile is left alone, such as the reports on what is dropped.
    What is yielded is on disk.  Raises StoreUnavailable; what was done by then stays done.
    """
    since, last = clock(), 0
    chosen = [*wanted.conditions(since), act.eligible(), deliveries.c.id <= _newest(database)]
    while found := _find(database, chosen, last, batch or act.batch):
        ids = list(found)
        prepared = act.prepare(database, ids, clock())
        with database.write() as connection:
            now = clock()
            idle, matching = _locked(connection, chosen, found, now)
            touched = act.apply(Work(connection, idle, now, prepared))
            announce(connection)
        signal(database.url)
        last = ids[-1]
        yield Done(tuple(touched), matching - len(touched))


def _newest(database: Database) -> int:
    with database.read() as connection:
        return connection.scalar(select(func.max(deliveries.c.id))) or 0


def _find(
    database: Database, chosen: Sequence[ColumnElement[bool]], last: int, limit: int
) -> dict[int, str]:
    """The next that match, and the messages that they are of."""
    d = deliveries.c
    statement = select(d.id, d.message_id).where(d.id > last, *chosen).order_by(d.id).limit(limit)
    with database.read() as connection:
        take_your_time(connection)
        return {row.id: row.message_id for row in connection.execute(statement)}


def _locked(
    connection: Connection,
    chosen: Sequence[ColumnElement[bool]],
    found: Mapping[int, str],
    now: datetime,
) -> tuple[Sequence[Touched], int]:
    """Lock those that still match and that no courier has or is taking; how many match in all.

    A number must still be that of its message: after a fail-over it may be another's.
    """
    d = deliveries.c
    here = (d.id.in_(found), d.message_id.in_(set(found.values())), *chosen)
    idle = or_(d.lease_until.is_(None), d.lease_until <= store_now(now))
    columns = select(d.id, d.message_id, d.domain, d.state, d.held)
    rows = connection.execute(skip_locked(columns.where(*here, idle).order_by(d.id))).all()
    matching = connection.execute(select(func.count()).where(*here)).scalar_one()
    touched = [
        Touched(row.id, row.message_id, row.domain, Standing.of(row.state, row.held))
        for row in rows
    ]
    return touched, matching
