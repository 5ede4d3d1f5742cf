"""Leases of the outbound queue that are not for an attempt that begins."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, or_, select, update

from mailstore.dialect import not_by_index, skip_locked
from relay.queue import Claim, State, load_claims
from relay.queue_schema import deliveries
from relay.unreadable import held_for_body


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
        .where(or_(d.held.is_(None), held_for_body(d.held)))
        .where(or_(d.lease_until.is_(None), d.lease_until <= now))
    )
    found = connection.execute(skip_locked(free)).scalars().all()
    connection.execute(
        update(deliveries).where(d.id.in_(found)).values(lease_owner=owner, lease_until=now + lease)
    )
    return load_claims(connection, owner, found)


def renew(connection: Connection, keys: Sequence[int], *, owner: str, until: datetime) -> None:
    """Hold the leases of long conversations for longer."""
    d = deliveries.c
    connection.execute(
        update(deliveries).where(d.id.in_(keys), d.lease_owner == owner).values(lease_until=until)
    )


def give_back(connection: Connection, keys: Sequence[int], *, owner: str, now: datetime) -> None:
    """End leases under which no attempt was made: none is counted, and each is due again."""
    d = deliveries.c
    connection.execute(
        update(deliveries)
        .where(d.id.in_(keys), d.lease_owner == owner)
        .values(lease_owner=None, lease_until=None, due=now, attempts=d.attempts - 1)
    )
