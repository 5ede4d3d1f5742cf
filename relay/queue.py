"""The outbound queue: one narrow row per message and destination domain, worked on under leases.

Truth is on disk.  An attempt is recorded before it is made, so that a crash never hammers a peer
(DESIGN §2.6); a lease keeps other delivery processes away until it lapses.  What a peer
refuses for good, or what outlives the queue's life, stays visible in state `failed` for long.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from mailstore.dialect import not_by_index, skip_locked
from mailstore.identifiers import MailboxType
from mailstore.schema import messages
from relay.envelope import EnvelopeRecipient
from relay.hold_rules import HoldRule, NewMail, reason_to_hold
from relay.parameters import RcptParameters
from relay.queue_schema import deliveries, delivery_recipients, destinations, hold_rules

_NOTHING: Final = RcptParameters()
_RULES: Final = select(
    *(hold_rules.c[name] for name in ("domain", "sender", "recipient", "mailbox_type", "reason"))
).order_by(hold_rules.c.id)
ALL: Final = "*"  # the row of `destinations` that stands for all of them


class Traffic(StrEnum):
    """Who wrote a message: people do not wait for what programs (APP mailboxes) send."""

    PERSON = "person"
    BULK = "bulk"


class State(StrEnum):
    """State of a delivery or of one of its recipients."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class QueueItem:
    """A message to be sent to the recipients it has at one domain.

    `mailbox_type` is that of the mailbox of ours that sent it; `asked` has what was asked for
    recipients, by address.
    """

    message_id: str
    domain: str
    recipients: tuple[str, ...]
    smtputf8: bool
    created_at: datetime
    sender: str = ""
    mailbox_type: MailboxType | None = None
    envid: str | None = None
    ret: str | None = None
    asked: Mapping[str, RcptParameters] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery leased to `owner`, with what an attempt and its reports need."""

    id: int
    owner: str
    message_id: str
    domain: str
    waiting: tuple[EnvelopeRecipient, ...]
    smtputf8: bool
    attempts: int
    created_at: datetime
    sender: str
    traffic: Traffic
    mailbox_type: str | None
    envid: str | None
    ret: str | None
    delay_told: bool
    last_error: str
    blob: str
    size: int
    trace: str

    @property
    def recipients(self) -> tuple[str, ...]:
        """The addresses that still wait."""
        return tuple(one.address for one in self.waiting)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recipient: delivered, failed for good or waiting; with the reply.

    `dsn` says that the peer offers DSN, so that it tells the sender of success itself.
    """

    state: State
    reply: str
    dsn: bool = False


def enqueue(connection: Connection, items: Sequence[QueueItem]) -> None:
    """Add deliveries, due at once or held by a rule, inside the caller's transaction."""
    if not items:
        return
    rules = [HoldRule(*row) for row in connection.execute(_RULES)]
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
            "sender": item.sender,
            "traffic": Traffic.BULK if item.mailbox_type is MailboxType.APP else Traffic.PERSON,
            "mailbox_type": item.mailbox_type,
            "held": reason_to_hold(
                NewMail(item.domain, item.sender, item.recipients, item.mailbox_type), rules
            ),
            "envid": item.envid,
            "ret": item.ret,
        }
        for item in items
    ]
    statement = insert(deliveries).returning(deliveries.c.id, sort_by_parameter_order=True)
    ids = connection.execute(statement, rows).scalars()
    connection.execute(
        insert(delivery_recipients),
        [
            {
                "delivery_id": key,
                "address": address,
                "state": State.WAITING,
                "reply": "",
                "notify": ",".join(sorted(asked.notify or ())),
                "orcpt": asked.orcpt,
            }
            for key, item in zip(ids, items, strict=True)
            for address in item.recipients
            for asked in [item.asked.get(address, _NOTHING)]
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
    among: Sequence[int] | None = None,
) -> list[Claim]:
    """Lease up to `limit` due deliveries to `owner`, counting the attempt and setting the next one.

    Those of `among`, or without it the ones due longest, but never what is held, nor for a paused
    or dead destination.  `wait(n)` is the time between attempt n and the one after it.
    """
    d, at = deliveries.c, destinations.c
    if connection.scalar(select(at.paused).where(at.domain == ALL)) is not None:
        return []
    barred = (
        select(at.domain)
        .where(at.domain == d.domain)
        .where(or_(at.paused.is_not(None), at.dead_until > now))
    )
    due = (
        select(d.id, d.attempts)
        .where(d.due <= now, d.held.is_(None))
        .where(or_(d.lease_until.is_(None), d.lease_until <= now))
        .where(~barred.exists())
    )
    if among is None:
        due = due.where(d.state == State.WAITING).order_by(d.due, d.id).limit(limit)
    else:
        due = due.where(d.id.in_(among[:limit]), not_by_index(d.state) == State.WAITING)
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
    return load_claims(connection, owner, [row.id for row in rows])


def load_claims(connection: Connection, owner: str, keys: Sequence[int]) -> list[Claim]:
    """Read deliveries that are leased to `owner`, in the order in which they are due."""
    d, m, r = deliveries.c, messages.c, delivery_recipients.c
    statement = (
        select(
            d.id, d.message_id, d.domain, d.smtputf8, d.attempts, d.created_at, d.traffic,
            d.mailbox_type, d.envid, d.ret, d.delay_told, d.last_error,
            m.sender, m.blob, m.size, m.trace,
        )
        .join(messages, m.id == d.message_id)
        .where(d.id.in_(keys))
        .order_by(d.due, d.id)
    )  # fmt: skip
    waiting: dict[int, tuple[EnvelopeRecipient, ...]] = {}
    recipients = (
        select(r.delivery_id, r.address, r.notify, r.orcpt)
        .where(r.delivery_id.in_(keys), r.state == State.WAITING)
        .order_by(r.id)
    )
    for key, *facts in connection.execute(recipients):
        waiting[key] = (*waiting.get(key, ()), EnvelopeRecipient(*facts))
    return [
        Claim(
            owner=owner,
            waiting=waiting.get(row.id, ()),
            **{**row._mapping, "traffic": Traffic(row.traffic)},
        )
        for row in connection.execute(statement)
    ]


def settle(
    connection: Connection,
    done: Claim,
    outcomes: Mapping[str, Outcome],
    *,
    error: str,
    now: datetime,
    life: timedelta,
    told: bool = False,
) -> State | None:
    """Record what an attempt came to and give the lease back.

    `told` if the sender is told in this transaction that the message is late.
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
        .values(
            state=state,
            lease_owner=None,
            lease_until=None,
            last_error=error[:500],
            delay_told=done.delay_told or told,
            # When it failed, by which its row is removed at last (`relay.queue_failed`).
            **({"due": now} if over else {}),
        )
    )
    return state


def settle_delivered(connection: Connection, keys: Sequence[int], owner: str) -> set[int]:
    """Remove deliveries that have reached all who waited, by few statements; returns which are out.

    The others are to be settled one by one: the lease had lapsed, or some recipient had failed.
    """
    d, r = deliveries.c, delivery_recipients.c
    leased = select(d.id).where(d.id.in_(keys), d.lease_owner == owner).with_for_update()
    found = set(connection.execute(leased).scalars())
    failed = select(r.delivery_id).where(r.delivery_id.in_(found), r.state == State.FAILED)
    found.difference_update(connection.execute(failed).scalars())
    if found:
        connection.execute(delete(delivery_recipients).where(r.delivery_id.in_(found)))
        connection.execute(delete(deliveries).where(d.id.in_(found)))
    return found


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
