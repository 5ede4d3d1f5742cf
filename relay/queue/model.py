"""The outbound queue: one narrow row per message and destination domain, worked on under leases.

Truth is on disk.  An attempt is recorded before it is made, so that a crash never hammers a peer
(docs/durability.md); a lease keeps other delivery processes away until it lapses.  What a peer
refuses for good, or what outlives the queue's life, stays visible in state `failed` for long.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from sqlalchemy import BindParameter, Connection, bindparam, insert, or_, select, update

from mailstore.db.dialect import not_by_index, skip_locked
from mailstore.db.schema import UtcTime, messages
from mailstore.db.store_time import store_time
from mailstore.mailboxes.identifiers import MailboxType
from relay.queue.hold_rules import HoldRule, NewMail, reason_to_hold
from relay.queue.schema import deliveries, delivery_recipients, destinations, hold_rules
from relay.smtp.envelope import EnvelopeRecipient
from relay.smtp.parameters import RcptParameters

_NOTHING: Final = RcptParameters()
_RULES: Final = select(
    *(hold_rules.c[name] for name in ("domain", "sender", "recipient", "mailbox_type", "reason"))
).order_by(hold_rules.c.id)
ALL: Final = "*"  # the row of `destinations` that stands for all of them

# What couriers do all the time is put together once: SQLAlchemy takes longer for that than SQLite
# for what it says.
_D, _R, _AT, _M = deliveries.c, delivery_recipients.c, destinations.c, messages.c
_NOW: Final = bindparam("now", type_=UtcTime())
_STORE_NOW: Final = store_time(_NOW)
_KEYS: Final[BindParameter[int]] = bindparam("keys", expanding=True)
_ALL_PAUSED: Final = select(_AT.paused).where(_AT.domain == ALL)
_BARRED: Final = (
    select(_AT.domain)
    .where(_AT.domain == _D.domain)
    .where(or_(_AT.paused.is_not(None), _AT.dead_until > _NOW))
)
_DUE: Final = (
    select(_D.id, _D.attempts, _STORE_NOW.label("store_now"))
    .where(_D.due <= _NOW, _D.held.is_(None))
    .where(or_(_D.lease_until.is_(None), _D.lease_until <= _STORE_NOW))
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
        lease_token=bindparam("token"),
    )
)
_CLAIMED: Final = (
    select(
        _D.id, _D.message_id, _D.domain, _D.smtputf8, _D.attempts, _D.created_at, _M.sender,
        _D.traffic, _D.mailbox_type, _D.envid, _D.ret, _D.delay_told, _D.last_error,
        _D.unknown_outcomes, _D.lease_token, _M.blob, _M.size, _M.trace,
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


class Lease(NamedTuple):
    """By what a lease is named: its delivery's number, and a token that no other lease has.

    A number alone may mean another delivery by now: one that a fail-over has lost is given again.
    """

    id: int
    token: str


def new_token() -> str:
    """The token of a lease to be, 32 hexadecimal digits that never come again."""
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery leased to `owner`, with what an attempt and its reports need.

    `token` is that of the lease, empty if it never had one.
    """

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
    token: str = ""

    @property
    def lease(self) -> Lease:
        """The name of the lease, for every renewal and settlement."""
        return Lease(self.id, self.token)

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
    token: Callable[[int], str] = lambda _: new_token(),
) -> list[Claim]:
    """Lease up to `limit` due deliveries to `owner`, counting the attempt and setting the next one.

    Those of `among`, or without it the ones due longest, but never what is held, nor for a paused
    or dead destination.  `wait(n)` is the time between attempt n and the one after it, `token(id)`
    names the lease of a delivery.  What is due is judged by `now`, leases by the clock of the
    database (`mailstore.db.store_time`).
    """
    if connection.scalar(_ALL_PAUSED) is not None:
        return []
    if among is None:
        rows = connection.execute(_DUE_LONGEST, {"now": now, "limit": limit}).all()
    else:
        rows = connection.execute(_DUE_AMONG, {"now": now, "keys": among[:limit]}).all()
    if not rows:
        return []
    tokens = {key: token(key) for key, _, _ in rows}
    until = rows[0].store_now + lease  # of one moment for all of them
    connection.execute(
        _LEASE,
        [
            {
                "key": key,
                "n": n + 1,
                "next": now + wait(n + 1),
                "owner": owner,
                "until": until,
                "token": tokens[key],
            }
            for key, n, _ in rows
        ],
    )
    return leased(connection, owner, tokens)


def leased(connection: Connection, owner: str, tokens: Mapping[int, str]) -> list[Claim]:
    """Read deliveries that are leased to `owner` under these tokens, given by their numbers."""
    found = load_claims(connection, owner, list(tokens))
    return [one for one in found if one.token == tokens[one.id]]


def load_claims(connection: Connection, owner: str, keys: Sequence[int]) -> list[Claim]:
    """Read deliveries as though leased to `owner`, in the order in which they are due."""
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
            token=row.lease_token or "",
        )
        for row in connection.execute(_CLAIMED, {"keys": keys})
    ]


def release(connection: Connection, node: str, now: datetime) -> int:
    """Free the leases that a dead process of this node left, due at once; returns how many."""
    d = deliveries.c
    statement = (
        update(deliveries)
        .where(d.lease_owner.startswith(f"{node}:", autoescape=True))
        .values(lease_owner=None, lease_until=None, lease_token=None, due=now)
    )
    return connection.execute(statement).rowcount
