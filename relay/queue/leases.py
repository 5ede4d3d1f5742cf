"""Leases of the outbound queue that are not for an attempt that begins.

They are reckoned by the clock of the database (`mailstore.db.store_time`), so that a machine whose
own is wrong neither takes what others hold nor holds what it does not work on.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, bindparam, or_, select, update

from mailstore.db.dialect import not_by_index, skip_locked
from mailstore.db.store_time import store_later, store_now
from relay.queue.model import Claim, Lease, State, leased, new_token
from relay.queue.schema import deliveries


def unleased(connection: Connection, keys: Sequence[int]) -> set[int]:
    """Deliveries among these that have no lease, not even a lapsed one."""
    d = deliveries.c
    return set(connection.scalars(select(d.id).where(d.id.in_(keys), d.lease_until.is_(None))))


def seize(
    connection: Connection, keys: Sequence[int], *, owner: str, now: datetime, lease: timedelta
) -> list[Claim]:
    """Lease deliveries whose time is over, not to be tried but to be settled.

    Nothing is counted.  Those that are leased are left alone, and what a person or a rule holds.
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
    return leased(connection, owner, tokens)


def renew(
    connection: Connection, leases: Sequence[Lease], *, now: datetime, lease: timedelta
) -> set[Lease]:
    """Hold the leases of long conversations for longer; those that are still there."""
    d = deliveries.c
    statement = update(deliveries).where(_under(leases)).returning(d.id, d.lease_token)
    rows = connection.execute(statement.values(lease_until=store_later(now, lease)))
    return {Lease(*row) for row in rows}


def give_back(connection: Connection, leases: Sequence[Lease], *, now: datetime) -> None:
    """End leases under which no attempt was made: none is counted, and each is due again."""
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
    """The deliveries under these leases.  No two have one token: it need not be by pairs."""
    d = deliveries.c
    return and_(
        d.id.in_([one.id for one in leases]), d.lease_token.in_([one.token for one in leases])
    )
