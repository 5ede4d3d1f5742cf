"""Actions on deliveries by hand: retry, hold, release; `drop` deletes them.

An action works through the deliveries that a filter matches in transactions of `BATCH`, so that a
million deliveries never block the daemon's writers for more than a moment.  A read-only transaction
finds the deliveries; the transaction that changes them checks them again and locks them.  A
delivery in flight is left alone: the courier has it, and the peer's `250` may be about to arrive.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, true, update

from mailstore.db.database import Database
from mailstore.db.dialect import disable_statement_timeout, skip_locked
from mailstore.db.store_time import store_now
from relay.queue.schema import deliveries, delivery_recipients
from relay.queue.wakeup import notify_after_commit, notify_in_transaction
from relay.queue_admin.filter import DeliveryFilter, DeliveryStatus
from relay.smtp.outcome import State

BATCH: Final = 2000

Preparation = TypeVar("Preparation")


@dataclass(frozen=True, slots=True)
class ChangedDelivery:
    """A delivery that an action has changed; `report` is the id of the sender's DSN, if any."""

    id: int
    message_id: str
    domain: str
    was: DeliveryStatus
    report: str = ""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The result of a batch: the deliveries changed, and the number left alone, in flight."""

    changed: tuple[ChangedDelivery, ...]
    in_flight: int


@dataclass(frozen=True, slots=True)
class ActionBatch(Generic[Preparation]):
    """A transaction of an action: its deliveries, locked, and the result of `prepare`."""

    connection: Connection
    changed: Sequence[ChangedDelivery]
    now: datetime
    prepared: Preparation

    @property
    def ids(self) -> list[int]:
        """The numbers of the deliveries."""
        return [one.id for one in self.changed]


class QueueAction(Generic[Preparation]):
    """An action on deliveries; `event` is its name in the journal.

    `revives`: its deliveries are tried even at a dead destination.  `tells`: it may write DSNs to
    senders.
    """

    event: ClassVar[str]
    revives: ClassVar[bool] = False
    tells: ClassVar[bool] = False

    @property
    def decides(self) -> bool:
        """Whether it decides that a message arrives or not, and not only when."""
        return True

    def eligible(self) -> ColumnElement[bool]:
        """The deliveries that the action applies to."""
        return true()

    @property
    def batch(self) -> int:
        """How many deliveries to change in a transaction."""
        return BATCH

    def prepare(self, database: Database, ids: Sequence[int], now: datetime) -> Preparation:
        """Do the slow work before the transaction; `apply` gets the result as `prepared`."""
        raise NotImplementedError

    def apply(self, work: ActionBatch[Preparation]) -> Sequence[ChangedDelivery]:
        """Change the deliveries in the transaction; returns those that were changed."""
        raise NotImplementedError


class PlainAction(QueueAction[None]):
    """An action without slow work before the transaction."""

    def prepare(self, database: Database, ids: Sequence[int], now: datetime) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class RetryAction(PlainAction):
    """Make waiting deliveries due now; with `revive`, failed ones too, with a new life.

    A held delivery stays held.  A revived delivery has all its attempts again.
    """

    event: ClassVar[str] = "queue.retried"
    revives: ClassVar[bool] = True

    revive: bool = False

    @property
    def decides(self) -> bool:
        """True if failed deliveries live again."""
        return self.revive

    def eligible(self) -> ColumnElement[bool]:
        """Waiting deliveries; with `revive`, failed ones too."""
        waits = DeliveryStatus.WAITING.condition
        return or_(waits, DeliveryStatus.FAILED.condition) if self.revive else waits

    def apply(self, work: ActionBatch[None]) -> Sequence[ChangedDelivery]:
        """Set the time; reset the deliveries that failed."""
        d, r = deliveries.c, delivery_recipients.c
        connection, now = work.connection, work.now
        connection.execute(update(deliveries).where(d.id.in_(work.ids)).values(due=now))
        failed = [one.id for one in work.changed if one.was is DeliveryStatus.FAILED]
        if not failed:
            return work.changed
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
        return work.changed


@dataclass(frozen=True, slots=True)
class HoldAction(PlainAction):
    """Keep deliveries from being sent until they are released."""

    event: ClassVar[str] = "queue.held"

    reason: str

    def eligible(self) -> ColumnElement[bool]:
        """Waiting deliveries, and those held for their bodies; a hold by hand keeps its reason."""
        return or_(
            DeliveryStatus.WAITING.condition,
            and_(DeliveryStatus.HELD.condition, deliveries.c.unreadable),
        )

    def apply(self, work: ActionBatch[None]) -> Sequence[ChangedDelivery]:
        """Write the reason."""
        chosen = deliveries.c.id.in_(work.ids)
        work.connection.execute(
            update(deliveries).where(chosen).values(held=self.reason, unreadable=False)
        )
        return work.changed


@dataclass(frozen=True, slots=True)
class ReleaseAction(PlainAction):
    """End the hold; due now."""

    event: ClassVar[str] = "queue.released"

    def eligible(self) -> ColumnElement[bool]:
        """Held deliveries."""
        return DeliveryStatus.HELD.condition

    def apply(self, work: ActionBatch[None]) -> Sequence[ChangedDelivery]:
        """Delete the reason."""
        chosen = deliveries.c.id.in_(work.ids)
        work.connection.execute(
            update(deliveries).where(chosen).values(held=None, unreadable=False, due=work.now)
        )
        return work.changed


def count(
    connection: Connection, wanted: DeliveryFilter, now: datetime
) -> dict[DeliveryStatus, int]:
    """The number of deliveries that a filter matches, by state."""
    d = deliveries.c
    disable_statement_timeout(connection)
    statement = (
        select(d.state, d.held.is_not(None).label("is_held"), func.count().label("number"))
        .where(*wanted.conditions(now))
        .group_by(d.state, d.held.is_not(None))
    )
    found = dict.fromkeys(DeliveryStatus, 0)
    for row in connection.execute(statement):
        found[DeliveryStatus.of(row.state, "" if row.is_held else None)] += row.number
    return found


def run_action(
    database: Database,
    act: QueueAction[Preparation],
    wanted: DeliveryFilter,
    clock: Callable[[], datetime],
    *,
    batch: int | None = None,
    note: Callable[[Connection, Sequence[ChangedDelivery]], None] = lambda *_: None,
) -> Iterator[BatchResult]:
    """Apply an action to all deliveries that a filter matches now; yields once per transaction.

    `note` is called at the end of each transaction with the deliveries that it changed; an
    exception of it undoes the transaction.  Deliveries that are queued meanwhile, such as the DSNs
    about dropped deliveries, are left alone.  A yielded result is on disk.  Raises
    StoreUnavailable; earlier transactions stay done.
    """
    since, last = clock(), 0
    chosen = [*wanted.conditions(since), act.eligible(), deliveries.c.id <= _newest(database)]
    while found := _find(database, chosen, last, batch or act.batch):
        ids = list(found)
        prepared = act.prepare(database, ids, clock())
        with database.write() as connection:
            now = clock()
            idle, matching = _locked(connection, chosen, found, now)
            touched = act.apply(ActionBatch(connection, idle, now, prepared))
            notify_in_transaction(connection)
            note(connection, touched)
        notify_after_commit(database.url)
        last = ids[-1]
        yield BatchResult(tuple(touched), matching - len(touched))


def _newest(database: Database) -> int:
    with database.read() as connection:
        return connection.scalar(select(func.max(deliveries.c.id))) or 0


def _find(
    database: Database, chosen: Sequence[ColumnElement[bool]], last: int, limit: int
) -> dict[int, str]:
    """The next deliveries that match, with the ids of their messages."""
    d = deliveries.c
    statement = select(d.id, d.message_id).where(d.id > last, *chosen).order_by(d.id).limit(limit)
    with database.read() as connection:
        disable_statement_timeout(connection)
        return {row.id: row.message_id for row in connection.execute(statement)}


def _locked(
    connection: Connection,
    chosen: Sequence[ColumnElement[bool]],
    found: Mapping[int, str],
    now: datetime,
) -> tuple[Sequence[ChangedDelivery], int]:
    """Lock the deliveries that still match and are not in flight; also returns how many match.

    A delivery must still have the same message: after a fail-over its number may be another's.
    """
    d = deliveries.c
    here = (d.id.in_(found), d.message_id.in_(set(found.values())), *chosen)
    idle = or_(d.lease_until.is_(None), d.lease_until <= store_now(now))
    columns = select(d.id, d.message_id, d.domain, d.state, d.held)
    rows = connection.execute(skip_locked(columns.where(*here, idle).order_by(d.id))).all()
    matching = connection.execute(select(func.count()).where(*here)).scalar_one()
    touched = [
        ChangedDelivery(row.id, row.message_id, row.domain, DeliveryStatus.of(row.state, row.held))
        for row in rows
    ]
    return touched, matching
