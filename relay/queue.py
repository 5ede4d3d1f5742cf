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
    BindParameter,
    Connection,
    bindparam,
    delete,
    insert,
    or_,
    select,
    update,
)

from mailstore.dialect import not_by_index, skip_locked
from mailstore.identifiers import MailboxType
from mailstore.schema import UtcTime, messages
from relay.envelope import EnvelopeRecipient
from relay.hold_rules import HoldRule, NewMail, reason_to_hold
from relay.parameters import RcptParameters
from relay.queue_schema import deliveries, delivery_recipients, destinations, hold_rules

_NOTHING: Final = RcptParameters()
_RULES: Final = select(
    *(hold_rules.c[name] for name in ("domain", "sender", "recipient", "mailbox_type", "reason"))
).order_by(hold_rules.c.id)
ALL: Final = "*"  # the row of `destinations` that stands for all of them

# What couriers do all the time is put together once: SQLAlchemy takes longer for that than SQLite
# for what it says.
_D, _R, _AT, _M = deliveries.c, delivery_recipients.c, destinations.c, messages.c
_NOW: Final = bindparam("now", type_=UtcTime())
_KEYS: Final[BindParameter[int]] = bindparam("keys", expanding=True)
_ALL_PAUSED: Final = select(_AT.paused).where(_AT.domain == ALL)
_BARRED: Final = (
    select(_AT.domain)
    .where(_AT.domain == _D.domain)
    .where(or_(_AT.paused.is_not(None), _AT.dead_until > _NOW))
)
_DUE: Final = (
    select(_D.id, _D.attempts)
    .where(_D.due <= _NOW, _D.held.is_(None))
    .where(or_(_D.lease_until.is_(None), _D.lease_until <= _NOW))
    .where(~_BARRED.exists())
)
_DUE_LONGEST: Final = skip_locked(
    _DUE.where(_D.state == "waiting").order_by(_D.due, _D.id).limit(bindparam("limit"))
)
_DUE_AMONG: Final = skip_locked(_DUE.where(_D.id.in_(_KEYS), not_by_index(_D.state) == "waiting"))
_LEASE: Final = (
    update(deliveries)
    .where(_D.id == bindparam("key"))
    .values(
        attempts=bindparam("n"),
        due=bindparam("next"),
        lease_owner=bindparam("owner"),
        lease_until=bindparam("until"),
    )
)
_CLAIMED: Final = (
    select(
        _D.id, _D.message_id, _D.domain, _D.smtputf8, _D.attempts, _D.created_at, _M.sender,
        _D.traffic, _D.mailbox_type, _D.envid, _D.ret, _D.delay_told, _D.last_error,
        _D.unknown_outcomes, _M.blob, _M.size, _M.trace,
    )
    .join(messages, _M.id == _D.message_id)
    .where(_D.id.in_(_KEYS))
    .order_by(_D.due, _D.id)
)  # fmt: skip
_WHO_WAITS: Final = (
    select(_R.delivery_id, _R.address, _R.notify, _R.orcpt)
    .where(_R.delivery_id.in_(_KEYS), _R.state == "waiting")
    .order_by(_R.id)
)
_LEASED: Final = (
    select(_D.id).where(_D.id.in_(_KEYS), _D.lease_owner == bindparam("owner")).with_for_update()
)
_FAILED: Final = select(_R.delivery_id).where(_R.delivery_id.in_(_KEYS), _R.state == "failed")
_REMOVE_RECIPIENTS: Final = delete(delivery_recipients).where(_R.delivery_id.in_(_KEYS))
_REMOVE: Final = delete(deliveries).where(_D.id.in_(_KEYS))


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
    unknown_outcomes: int = 0

    @property
    def recipients(self) -> tuple[str, ...]:
        """The addresses that still wait."""
        return tuple(one.address for one in self.waiting)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recipient: delivered, failed for good or waiting; with the reply.

    `dsn` says that the peer offers DSN, so that it tells the sender of success itself; `unknown`
    that it waits since the peer may have the message, and may not.
    """

    state: State
    reply: str
    dsn: bool = False
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A delivery that a rule held as it was queued, and the rule's reason."""

    id: int
    message_id: str
    domain: str
    reason: str


def enqueue(connection: Connection, items: Sequence[QueueItem]) -> list[HeldBack]:
    """Add deliveries, due at once or held by a rule, inside the caller's transaction.

    Returns those that are held.
    """
    if not items:
        return []
    rules = [HoldRule(*row) for row in connection.execute(_RULES)]
    held = [
        reason_to_hold(NewMail(item.domain, item.sender, item.recipients, item.mailbox_type), rules)
        for item in items
    ]
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
            "held": reason,
            "envid": item.envid,
            "ret": item.ret,
        }
        for item, reason in zip(items, held, strict=True)
    ]
    statement = insert(deliveries).returning(deliveries.c.id, sort_by_parameter_order=True)
    ids = connection.scalars(statement, rows).all()
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
    return [
        HeldBack(key, item.message_id, item.domain, reason)
        for key, item, reason in zip(ids, items, held, strict=True)
        if reason is not None
    ]


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
    if connection.scalar(_ALL_PAUSED) is not None:
        return []
    if among is None:
        rows = connection.execute(_DUE_LONGEST, {"now": now, "limit": limit}).all()
    else:
        rows = connection.execute(_DUE_AMONG, {"now": now, "keys": among[:limit]}).all()
    if not rows:
        return []
    until = now + lease
    connection.execute(
        _LEASE,
        [
            {"key": key, "n": n + 1, "next": now + wait(n + 1), "owner": owner, "until": until}
            for key, n in rows
        ],
    )
    return load_claims(connection, owner, [key for key, _ in rows])


def load_claims(connection: Connection, owner: str, keys: Sequence[int]) -> list[Claim]:
    """Read deliveries that are leased to `owner`, in the order in which they are due."""
    waiting: dict[int, list[EnvelopeRecipient]] = {}
    for key, address, notify, orcpt in connection.execute(_WHO_WAITS, {"keys": keys}):
        waiting.setdefault(key, []).append(EnvelopeRecipient(address, notify, orcpt))
    return [
        Claim(
            id=row.id,
            owner=owner,
            message_id=row.message_id,
            domain=row.domain,
            waiting=tuple(waiting.get(row.id, ())),
            smtputf8=row.smtputf8,
            attempts=row.attempts,
            created_at=row.created_at,
            sender=row.sender,
            traffic=Traffic(row.traffic),
            mailbox_type=row.mailbox_type,
            envid=row.envid,
            ret=row.ret,
            delay_told=row.delay_told,
            last_error=row.last_error,
            blob=row.blob,
            size=row.size,
            trace=row.trace,
            unknown_outcomes=row.unknown_outcomes,
        )
        for row in connection.execute(_CLAIMED, {"keys": keys})
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
    unknown_until: datetime | None = None,
) -> State | None:
    """Record what an attempt came to and give the lease back.

    `told` if the sender is told in this transaction that the message is late; `unknown_until` when
    to try again what the peer may have already, None where that is known.
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
            unknown_outcomes=d.unknown_outcomes + int(unknown_until is not None),
            # When it failed, by which its row is removed at last (`relay.queue_failed`).
            due=now if over else unknown_until or d.due,
        )
    )
    return state


def hold(connection: Connection, key: int, why: str) -> None:
    """Hold a delivery that this transaction has settled, and that waits."""
    connection.execute(update(deliveries).where(_D.id == key).values(held=why[:500]))


def settle_delivered(connection: Connection, keys: Sequence[int], owner: str) -> set[int]:
    """Remove deliveries that have reached all who waited, by few statements; returns which are out.

    The others are to be settled one by one: the lease had lapsed, or some recipient had failed.
    """
    found = set(connection.scalars(_LEASED, {"keys": keys, "owner": owner}))
    found.difference_update(connection.scalars(_FAILED, {"keys": sorted(found)}))
    if found:
        connection.execute(_REMOVE_RECIPIENTS, {"keys": sorted(found)})
        connection.execute(_REMOVE, {"keys": sorted(found)})
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
