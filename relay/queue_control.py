"""What an operator does to the queue: send now, hold, release, drop; pause what goes somewhere.

An act works through what a filter matches in transactions of `BATCH` deliveries, so that a million
of them never keeps the daemon's writers waiting for more than a moment.  What is looked for in a
transaction that only reads is looked at again, and locked, in the one that changes it.  A delivery
in flight is left alone: a courier has it in its hands, and may be about to hear the peer's `250`.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from sqlalchemy import ColumnElement, Connection, delete, func, or_, select, true, update

from mailstore.database import Database
from mailstore.dialect import insert_or_ignore, skip_locked, take_your_time
from relay.queue import State
from relay.queue_filter import Filter, Standing
from relay.queue_schema import deliveries, delivery_recipients, destinations

BATCH: Final = 2000
EVERYWHERE: Final = "*"  # the destination that stands for all of them


@dataclass(frozen=True, slots=True)
class Touched:
    """A delivery that an act has changed."""

    id: int
    message_id: str
    domain: str
    was: Standing


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a batch: the deliveries changed, and how many were in flight and are not."""

    touched: tuple[Touched, ...]
    in_flight: int


class Act:
    """Something done to deliveries."""

    def eligible(self) -> ColumnElement[bool]:
        """The deliveries that it makes sense for."""
        return true()

    def prepare(self, database: Database, ids: Sequence[int]) -> None:
        """What takes time and is better done before the transaction that applies it."""

    def apply(
        self, connection: Connection, touched: Sequence[Touched], now: datetime
    ) -> Sequence[Touched]:
        """Do it to these, locked until the transaction ends; returns those that it was done to."""
        raise NotImplementedError


def _ids(touched: Sequence[Touched]) -> list[int]:
    return [one.id for one in touched]


@dataclass(frozen=True, slots=True)
class Retry(Act):
    """Due now.  With `revive` also what failed: it waits again, with a new life and all attempts.

    What is held stays so.
    """

    revive: bool = False

    def eligible(self) -> ColumnElement[bool]:
        """What waits, and what failed if that is to live again."""
        waits = Standing.WAITING.condition
        return or_(waits, Standing.FAILED.condition) if self.revive else waits

    def apply(
        self, connection: Connection, touched: Sequence[Touched], now: datetime
    ) -> Sequence[Touched]:
        """Set the time; for those that failed begin anew."""
        d, r = deliveries.c, delivery_recipients.c
        connection.execute(update(deliveries).where(d.id.in_(_ids(touched))).values(due=now))
        failed = [one.id for one in touched if one.was is Standing.FAILED]
        if not failed:
            return touched
        connection.execute(
            update(deliveries)
            .where(d.id.in_(failed))
            .values(
                state=State.WAITING, attempts=0, created_at=now, held=None, delay_told=False,
                lease_owner=None, lease_until=None,
            )
        )  # fmt: skip
        connection.execute(
            update(delivery_recipients)
            .where(r.delivery_id.in_(failed), r.state == State.FAILED)
            .values(state=State.WAITING)
        )
        return touched


@dataclass(frozen=True, slots=True)
class Hold(Act):
    """Not sent until released."""

    reason: str

    def eligible(self) -> ColumnElement[bool]:
        """What waits; what is held already keeps its reason."""
        return Standing.WAITING.condition

    def apply(
        self,
        connection: Connection,
        touched: Sequence[Touched],
        now: datetime,  # noqa: ARG002 - Act's signature
    ) -> Sequence[Touched]:
        """Note the reason."""
        chosen = deliveries.c.id.in_(_ids(touched))
        connection.execute(update(deliveries).where(chosen).values(held=self.reason))
        return touched


@dataclass(frozen=True, slots=True)
class Release(Act):
    """Held no more, and due now."""

    def eligible(self) -> ColumnElement[bool]:
        """What is held."""
        return Standing.HELD.condition

    def apply(
        self, connection: Connection, touched: Sequence[Touched], now: datetime
    ) -> Sequence[Touched]:
        """Forget the reason."""
        chosen = deliveries.c.id.in_(_ids(touched))
        connection.execute(update(deliveries).where(chosen).values(held=None, due=now))
        return touched


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
        ids = _ids(touched)
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
    act: Act,
    wanted: Filter,
    clock: Callable[[], datetime],
    *,
    batch: int = BATCH,
) -> Iterator[Done]:
    """Do something to all that a filter matches now, a transaction for each of what is yielded.

    What is yielded is on disk.  Raises StoreUnavailable; what was done by then stays done.
    """
    since, last = clock(), 0
    chosen = [*wanted.conditions(since), act.eligible()]
    while ids := _find(database, chosen, last, batch):
        act.prepare(database, ids)
        with database.write() as connection:
            now = clock()
            idle, matching = _locked(connection, chosen, ids, now)
            touched = act.apply(connection, idle, now)
        last = ids[-1]
        yield Done(tuple(touched), matching - len(touched))


def _find(
    database: Database, chosen: Sequence[ColumnElement[bool]], last: int, limit: int
) -> Sequence[int]:
    d = deliveries.c
    statement = select(d.id).where(d.id > last, *chosen).order_by(d.id).limit(limit)
    with database.read() as connection:
        take_your_time(connection)
        return connection.execute(statement).scalars().all()


def _locked(
    connection: Connection,
    chosen: Sequence[ColumnElement[bool]],
    ids: Sequence[int],
    now: datetime,
) -> tuple[Sequence[Touched], int]:
    """Lock those that still match and that no courier has or is taking; how many match in all."""
    d = deliveries.c
    here = (d.id.in_(ids), *chosen)
    idle = or_(d.lease_until.is_(None), d.lease_until <= now)
    columns = select(d.id, d.message_id, d.domain, d.state, d.held)
    rows = connection.execute(skip_locked(columns.where(*here, idle).order_by(d.id))).all()
    matching = connection.execute(select(func.count()).where(*here)).scalar_one()
    touched = [
        Touched(row.id, row.message_id, row.domain, Standing.of(row.state, row.held))
        for row in rows
    ]
    return touched, matching


def forget_dead(connection: Connection, domains: Sequence[str]) -> None:
    """Take these destinations for alive, as before the first failure."""
    statement = update(destinations).where(destinations.c.domain.in_(domains))
    connection.execute(statement.values(failures=0, dead_until=None))


def pause(connection: Connection, domain: str, reason: str) -> None:
    """Send nothing there, or nowhere for EVERYWHERE; a pause in force gets the new reason."""
    connection.execute(insert_or_ignore(connection, destinations).values(domain=domain))
    where = destinations.c.domain == domain
    connection.execute(update(destinations).where(where).values(paused=reason))


def resume(connection: Connection, domain: str) -> bool:
    """End a pause, and take what was paused for alive; False if there was none."""
    d = destinations.c
    statement = update(destinations).where(d.domain == domain, d.paused.is_not(None))
    values = statement.values(paused=None, failures=0, dead_until=None)
    return connection.execute(values).rowcount > 0


def pauses(connection: Connection) -> dict[str, str]:
    """What is paused, EVERYWHERE among it, with the reasons."""
    d = destinations.c
    statement = select(d.domain, d.paused).where(d.paused.is_not(None)).order_by(d.domain)
    return {row.domain: row.paused for row in connection.execute(statement)}
