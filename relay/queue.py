"""The outbound queue: one narrow row per message and destination domain, worked on under leases.

Truth is on disk.  An attempt is recorded before it is made, so that a crash never hammers a peer
(DESIGN §2.6); a lease keeps other delivery processes away until it lapses.  Nothing is dropped:
what a peer refuses for good, or what outlives the queue's life, stays visible in state `failed`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, bindparam, delete, func, insert, or_, select, update

from mailstore.dialect import skip_locked
from mailstore.schema import messages
from relay.queue_schema import deliveries, delivery_recipients


class State(StrEnum):
    """State of a delivery or of one of its recipients."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class QueueItem:
    """A message to be sent to the recipients it has at one domain."""

    message_id: str
    domain: str
    recipients: tuple[str, ...]
    smtputf8: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery leased to `owner`, with what an attempt needs; `recipients` still wait."""

    id: int
    owner: str
    message_id: str
    domain: str
    recipients: tuple[str, ...]
    smtputf8: bool
    attempts: int
    created_at: datetime
    sender: str
    blob: str
    size: int
    trace: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recipient: delivered, failed for good or waiting; with the reply."""

    state: State
    reply: str


def enqueue(connection: Connection, items: Sequence[QueueItem]) -> None:
    """Add deliveries, due at once, inside the caller's transaction."""
    if not items:
        return
    rows = [
        {
            "message_id": item.message_id,
            "domain": item.domain,
            "state": State.WAITING,
            "smtputf8": item.smtputf8,
            "attempts": 0,
            "due": item.created_at,
            "created_at": item.created_at,
            "last_error": "",
        }
        for item in items
    ]
    statement = insert(deliveries).returning(deliveries.c.id, sort_by_parameter_order=True)
    ids = connection.execute(statement, rows).scalars()
    connection.execute(
        insert(delivery_recipients),
        [
            {"delivery_id": key, "address": address, "state": State.WAITING, "reply": ""}
            for key, item in zip(ids, items, strict=True)
            for address in item.recipients
        ],
    )


def claim(
    connection: Connection,
    *,
    owner: str,
    now: datetime,
    lease: timedelta,
    limit: int,
    wait: Callable[[int], timedelta],
) -> list[Claim]:
    """Lease up to `limit` due deliveries to `owner`, counting the attempt and setting the next one.

    `wait(n)` is the time between attempt n and the one after it.
    """
    d = deliveries.c
    due = (
        select(d.id, d.attempts)
        .where(d.state == State.WAITING, d.due <= now)
        .where(or_(d.lease_until.is_(None), d.lease_until <= now))
        .order_by(d.due, d.id)
        .limit(limit)
    )
    rows = connection.execute(skip_locked(due)).all()
    if not rows:
        return []
    connection.execute(
        update(deliveries)
        .where(d.id == bindparam("key"))
        .values(
            attempts=bindparam("n"),
            due=bindparam("next"),
            lease_owner=owner,
            lease_until=now + lease,
        ),
        [{"key": r.id, "n": r.attempts + 1, "next": now + wait(r.attempts + 1)} for r in rows],
    )
    return _claims(connection, owner, [row.id for row in rows])


def _claims(connection: Connection, owner: str, keys: Sequence[int]) -> list[Claim]:
    d, m = deliveries.c, messages.c
    statement = (
        select(
            d.id, d.message_id, d.domain, d.smtputf8, d.attempts, d.created_at,
            m.sender, m.blob, m.size, m.trace,
        )
        .join(messages, m.id == d.message_id)
        .where(d.id.in_(keys))
        .order_by(d.due, d.id)
    )  # fmt: skip
    waiting = _recipients(connection, keys, {State.WAITING})
    return [
        Claim(owner=owner, recipients=waiting.get(row.id, ()), **row._mapping)
        for row in connection.execute(statement)
    ]


def _recipients(
    connection: Connection, keys: Sequence[int], states: set[State]
) -> dict[int, tuple[str, ...]]:
    r = delivery_recipients.c
    found: dict[int, tuple[str, ...]] = {}
    statement = (
        select(r.delivery_id, r.address)
        .where(r.delivery_id.in_(keys), r.state.in_(states))
        .order_by(r.id)
    )
    for key, address in connection.execute(statement):
        found[key] = (*found.get(key, ()), address)
    return found


def settle(
    connection: Connection,
    done: Claim,
    outcomes: Mapping[str, Outcome],
    *,
    error: str,
    now: datetime,
    life: timedelta,
) -> State | None:
    """Record what an attempt came to and give the lease back.

    Returns the delivery's new state, or None if the lease had lapsed and another process holds the
    delivery now: its record stands, ours is dropped.
    """
    d, r = deliveries.c, delivery_recipients.c
    held = (d.id == done.id, d.lease_owner == done.owner)
    if connection.execute(update(deliveries).where(*held).values(lease_until=now)).rowcount == 0:
        return None
    if outcomes:
        connection.execute(
            update(delivery_recipients)
            .where(r.delivery_id == done.id, r.address == bindparam("to"))
            .values(state=bindparam("became"), reply=bindparam("said")),
            [{"to": a, "became": o.state, "said": o.reply} for a, o in outcomes.items()],
        )
    states = set(
        connection.execute(select(r.state).where(r.delivery_id == done.id).distinct()).scalars()
    )
    if states <= {State.DELIVERED}:
        connection.execute(delete(delivery_recipients).where(r.delivery_id == done.id))
        connection.execute(delete(deliveries).where(d.id == done.id))
        return State.DELIVERED
    over = State.WAITING not in states or now >= done.created_at + life
    state = State.FAILED if over else State.WAITING
    connection.execute(
        update(deliveries)
        .where(d.id == done.id)
        .values(state=state, lease_owner=None, lease_until=None, last_error=error[:500])
    )
    return state


def release(connection: Connection, node: str, now: datetime) -> int:
    """Free the leases that a dead process of this node left, due at once; returns how many."""
    d = deliveries.c
    statement = (
        update(deliveries)
        .where(d.lease_owner.startswith(f"{node}:", autoescape=True))
        .values(lease_owner=None, lease_until=None, due=now)
    )
    return connection.execute(statement).rowcount


@dataclass(frozen=True, slots=True)
class Destination:
    """One line of `queue summary`: a domain and what waits for it."""

    domain: str
    waiting: int
    in_flight: int
    failed: int
    oldest: datetime
    next_attempt: datetime | None
    last_error: str


def summary(connection: Connection, now: datetime) -> list[Destination]:
    """The queue by destination domain, the longest wait first."""
    d = deliveries.c
    is_waiting = d.state == State.WAITING
    statement = select(
        d.domain,
        func.count().filter(is_waiting).label("waiting"),
        func.count().filter(d.lease_until > now).label("in_flight"),
        func.count().filter(d.state == State.FAILED).label("failed"),
        func.min(d.created_at).label("oldest"),
        func.min(d.due).filter(is_waiting).label("next_attempt"),
        func.max(d.last_error).label("last_error"),
    ).group_by(d.domain)
    found = [Destination(**row._mapping) for row in connection.execute(statement)]
    return sorted(found, key=lambda line: (line.oldest, line.domain))


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of `queue list`."""

    id: int
    message_id: str
    domain: str
    state: str
    sender: str
    recipients: tuple[str, ...]
    size: int
    attempts: int
    created_at: datetime
    due: datetime
    last_error: str


def listing(connection: Connection, limit: int) -> list[Listed]:
    """The oldest `limit` deliveries in the queue with the recipients not delivered yet."""
    d = deliveries.c
    statement = (
        select(
            d.id, d.message_id, d.domain, d.state, d.attempts, d.created_at, d.due, d.last_error,
            messages.c.sender, messages.c.size,
        )
        .join(messages, messages.c.id == d.message_id)
        .order_by(d.created_at, d.id)
        .limit(limit)
    )  # fmt: skip
    rows = connection.execute(statement).all()
    left = _recipients(connection, [row.id for row in rows], {State.WAITING, State.FAILED})
    return [Listed(recipients=left.get(row.id, ()), **row._mapping) for row in rows]


@dataclass(frozen=True, slots=True)
class Depth:
    """The queue for monitoring: deliveries waiting and failed, birth of the oldest waiting."""

    waiting: int
    failed: int
    oldest: datetime | None


def depth(connection: Connection) -> Depth:
    """Measure the queue."""
    d = deliveries.c
    is_waiting = d.state == State.WAITING
    row = connection.execute(
        select(
            func.count().filter(is_waiting),
            func.count().filter(d.state == State.FAILED),
            func.min(d.created_at).filter(is_waiting),
        )
    ).one()
    return Depth(*row)
