"""The end of leases whose attempts came to something: the outcome is recorded, the lease is over.

A lease is named by its token and its message.  After a fail-over to a standby that lagged, numbers
are given again: an old attempt must not end a delivery that has the number of its own.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import BindParameter, Connection, bindparam, delete, select, update

from relay.queue.model import Claim, Lease
from relay.queue.schema import deliveries, delivery_recipients
from relay.smtp.outcome import Outcome, State

# Put together once, as in `relay.queue.model`.
_D, _R = deliveries.c, delivery_recipients.c
_KEYS: Final[BindParameter[int]] = bindparam("keys", expanding=True)
_LEASED: Final = (
    select(_D.id, _D.message_id, _D.lease_token)
    .where(_D.id.in_(_KEYS), _D.lease_owner == bindparam("owner"))
    .with_for_update()
)
_FAILED: Final = select(_R.delivery_id).where(_R.delivery_id.in_(_KEYS), _R.state == "failed")
_REMOVE_RECIPIENTS: Final = delete(delivery_recipients).where(_R.delivery_id.in_(_KEYS))
_REMOVE: Final = delete(deliveries).where(_D.id.in_(_KEYS))


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
    Returns the delivery's new state, or None if the lease is not there any more: it had lapsed and
    another process holds the delivery, or a fail-over has lost it.  Then our record is dropped.
    """
    d, r = deliveries.c, delivery_recipients.c
    held = (d.id == done.id, d.message_id == done.message_id, d.lease_token == done.token)
    # Which also locks the row: from here on its number is enough.
    if connection.execute(update(deliveries).where(*held).values(lease_token=None)).rowcount == 0:
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
            # When it failed, by which its row is removed at last (`relay.queue_admin.expiry`).
            due=now if over else unknown_until or d.due,
        )
    )
    return state


def hold_for_body(connection: Connection, key: int, why: str) -> None:
    """Hold a delivery that this transaction has settled, and that waits, for its body."""
    held = {"held": why[:500], "unreadable": True}
    connection.execute(update(deliveries).where(_D.id == key).values(held))


def settle_delivered(connection: Connection, done: Sequence[Claim], owner: str) -> frozenset[Lease]:
    """Remove deliveries that have reached all who waited, by few statements; the leases ended so.

    The others are to be settled one by one: the lease is not there any more, or some recipient had
    failed.
    """
    ours = {(one.id, one.message_id, one.token) for one in done}
    rows = connection.execute(_LEASED, {"keys": [one.id for one in done], "owner": owner})
    found = {row.id: row.lease_token for row in rows if tuple(row) in ours}
    for key in connection.scalars(_FAILED, {"keys": sorted(found)}):
        found.pop(key, None)
    if found:
        connection.execute(_REMOVE_RECIPIENTS, {"keys": sorted(found)})
        connection.execute(_REMOVE, {"keys": sorted(found)})
    return frozenset(map(Lease._make, found.items()))
