"""Leases of the outbound queue: taken, renewed, released.

The truth is on disk.  The attempt is counted before it is made, and the next attempt is scheduled,
so backoff goes on after a crash (docs/durability.md).  Only `release`, at a restart on the same
machine or by an operator, makes the interrupted attempts again at once.
A lease keeps other couriers away until it lapses.  Its end is set by the clock of the database
(`mailstore.db.store_time`): a machine with a wrong clock takes no delivery that another machine
works on, and keeps none too long.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    and_,
    bindparam,
    or_,
    select,
    update,
)

from mailstore.db.dialect import not_by_index, skip_locked
from mailstore.db.schema import UtcTime, messages
from mailstore.db.store_time import store_later, store_now, store_time
from relay.queue.model import ALL, Claim, Lease, Traffic, new_token
from relay.queue.schema import deliveries, delivery_recipients, destinations
from relay.smtp.envelope import EnvelopeRecipient
from relay.smtp.outcome import State

_log = structlog.get_logger(__name__)

KEY_MISSING: Final = "a patient's address cannot be opened: its key is missing in the key file"

# Frequent statements are built once: SQLAlchemy needs longer to build them than SQLite to run them.
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
    """Lease up to `limit` due deliveries; count the attempt and schedule the next one.

    Candidates: `among`, or else the deliveries due longest.  Never held mail, nor mail for a paused
    or dead destination.  `wait(n)`: time from the lease for attempt n to the next attempt at the
    earliest.  `token(id)`: token for the lease of a delivery.  `now` decides which deliveries are
    due; the clock of the database decides about leases (`mailstore.db.store_time`).
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
    until = rows[0].store_now + lease  # same end for all of them
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
    return _readable(connection, leased(connection, owner, tokens))


def _readable(connection: Connection, claims: list[Claim]) -> list[Claim]:
    """The claims whose addresses can be opened; the others are put off until their next attempt.

    Their leases end, so that a key that comes back is enough.
    """
    lacking = [one for one in claims if not one.readable]
    if not lacking:
        return claims
    connection.execute(
        update(deliveries)
        .where(_under([one.lease for one in lacking]))
        .values(lease_owner=None, lease_until=None, lease_token=None, last_error=KEY_MISSING)
    )
    for one in lacking:
        _log.error("delivery.key_missing", delivery=one.id, message=one.message_id)
    return [one for one in claims if one.readable]


def leased(connection: Connection, owner: str, tokens: Mapping[int, str]) -> list[Claim]:
    """Read the deliveries leased to `owner` under these tokens (number to token)."""
    found = load_claims(connection, owner, list(tokens))
    return [one for one in found if one.token == tokens[one.id]]


def load_claims(connection: Connection, owner: str, keys: Sequence[int]) -> list[Claim]:
    """Read deliveries as claims of `owner`, leased or not, in the order of their due times."""
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
    """Free the leases left by dead processes of machine `node`; return their number.

    The deliveries are due at once.  Their attempts stay counted.
    """
    d = deliveries.c
    statement = (
        update(deliveries)
        .where(d.lease_owner.startswith(f"{node}:", autoescape=True))
        .values(lease_owner=None, lease_until=None, lease_token=None, due=now)
    )
    return connection.execute(statement).rowcount


def without_lease(connection: Connection, keys: Sequence[int]) -> set[int]:
    """Return those of these deliveries that have no lease, not even a lapsed lease."""
    d = deliveries.c
    return set(connection.scalars(select(d.id).where(d.id.in_(keys), d.lease_until.is_(None))))


def lease_without_attempt(
    connection: Connection, keys: Sequence[int], *, owner: str, now: datetime, lease: timedelta
) -> list[Claim]:
    """Lease expired or late deliveries, to settle them without an attempt.

    No attempt is counted.  Leased deliveries, and deliveries held by a person or rule, are skipped.
    """
    d = deliveries.c
    free = (
        select(d.id)
        .where(d.id.in_(keys), not_by_index(d.state) == State.WAITING)
        .where(or_(d.held.is_(None), d.unreadable))
        .where(or_(d.lease_until.is_(None), d.lease_until <= store_now(now)))
    )
    tokens = {key: new_token() for key in connection.scalars(skip_locked(free))}
    if not tokens:
        return []
    connection.execute(
        update(deliveries)
        .where(d.id == bindparam("key"))
        .values(
            lease_owner=owner,
            lease_until=store_later(now, lease),
            lease_token=bindparam("token"),
        ),
        [{"key": key, "token": token} for key, token in tokens.items()],
    )
    return _readable(connection, leased(connection, owner, tokens))


def renew(
    connection: Connection, leases: Sequence[Lease], *, now: datetime, lease: timedelta
) -> set[Lease]:
    """Renew leases; return those that still exist."""
    d = deliveries.c
    statement = update(deliveries).where(_under(leases)).returning(d.id, d.lease_token)
    rows = connection.execute(statement.values(lease_until=store_later(now, lease)))
    return {Lease(*row) for row in rows}


def release_unattempted(connection: Connection, leases: Sequence[Lease], *, now: datetime) -> None:
    """Release leases without an attempt: the attempt is not counted, the delivery is due now."""
    d = deliveries.c
    connection.execute(
        update(deliveries)
        .where(_under(leases))
        .values(
            lease_owner=None,
            lease_until=None,
            lease_token=None,
            due=now,
            attempts=d.attempts - 1,
        )
    )


def _under(leases: Collection[Lease]) -> ColumnElement[bool]:
    """Condition: deliveries under these leases.  Tokens are unique, so pairs need not match."""
    d = deliveries.c
    return and_(
        d.id.in_([one.id for one in leases]), d.lease_token.in_([one.token for one in leases])
    )
