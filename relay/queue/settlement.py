"""Settlement: records the results of attempts, which ends their leases.

A lease is identified by its token and its message.  After a fail-over to a standby that lagged, the
database gives numbers again: an old attempt must not end a new delivery with the same number.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import BindParameter, Connection, bindparam, delete, select, update

from foundation.ins import PATIENT_DOMAIN
from foundation.privacy import mask_of
from relay.queue.attempt_result import AttemptResult
from relay.queue.model import Claim, Lease
from relay.queue.schema import deliveries, delivery_recipients
from relay.smtp.outcome import Outcome, State

# Built once, as in `relay.queue.leases`.
_D, _R = deliveries.c, delivery_recipients.c
_KEYS: Final[BindParameter[int]] = bindparam("keys", expanding=True)
_LEASED: Final = (
    select(_D.id, _D.message_id, _D.lease_token)
    .where(_D.id.in_(_KEYS), _D.lease_owner == bindparam("owner"))
    .with_for_update()
)
_FAILED: Final = select(_R.delivery_id).where(_R.delivery_id.in_(_KEYS), _R.state == "failed")
_REMOVE_RECIPIENTS: Final = delete(delivery_recipients).where(_R.delivery_id.in_(_KEYS))
_ADDRESSES: Final = select(_R.id, _R.address).where(_R.delivery_id == bindparam("delivery"))
_BY_ADDRESS: Final = (
    update(delivery_recipients)
    .where(_R.delivery_id == bindparam("delivery"), _R.address == bindparam("to"))
    .values(state=bindparam("became"), reply=bindparam("said"))
)
_BY_ID: Final = (
    update(delivery_recipients)
    .where(_R.id == bindparam("key"))
    .values(state=bindparam("became"), reply=bindparam("said"))
)
_REMOVE: Final = delete(deliveries).where(_D.id.in_(_KEYS))


def settle(connection: Connection, result: AttemptResult) -> State | None:
    """Record the result of an attempt and end its lease.

    Returns the new state of the delivery, or None if the lease is lost: it lapsed and another
    courier took the delivery, or a fail-over lost the row.  Then the result is dropped.
    The claim has only waiting recipients.  If all of them are delivered now, look for earlier
    failures: a delivery with a failed recipient keeps its row, so that operators see it.
    """
    d, r, done = deliveries.c, delivery_recipients.c, result.claim
    held = (d.id == done.id, d.message_id == done.message_id, d.lease_token == done.token)
    # This also locks the row: from here on its number is enough.
    if connection.execute(update(deliveries).where(*held).values(lease_token=None)).rowcount == 0:
        return None
    if result.outcomes:
        _record(connection, done.id, result.outcomes)
    state = result.state
    if state is State.DELIVERED:
        others = set(
            connection.scalars(select(r.state).where(r.delivery_id == done.id).distinct())
        ) - {State.DELIVERED}
        if not others:
            connection.execute(delete(delivery_recipients).where(r.delivery_id == done.id))
            connection.execute(delete(deliveries).where(d.id == done.id))
            return State.DELIVERED
        state = State.WAITING if State.WAITING in others else State.FAILED
    over = state is State.FAILED
    values: dict[str, Any] = {
        "state": state,
        "lease_owner": None,
        "lease_until": None,
        "last_error": result.masked_error[:500],
        "delay_told": done.delay_told or bool(result.late),
        "unknown_outcomes": d.unknown_outcomes + int(result.unknown_until is not None),
        # Failed: time of the failure; the row is removed some days after it
        # (`relay.queue_admin.expiry`).
        # Waiting: `due` stays as set when the lease was taken (`leases.claim`), but is later after
        # an unknown outcome.
        "due": result.at if over else result.unknown_until or d.due,
    }
    if result.held and not over:
        values |= {"held": result.held[:500], "unreadable": True}
    connection.execute(update(deliveries).where(d.id == done.id).values(values))
    return state


def _record(connection: Connection, delivery: int, outcomes: Mapping[str, Outcome]) -> None:
    """Record the outcomes of a delivery's recipients."""
    if not any(PATIENT_DOMAIN in address for address in outcomes):
        connection.execute(
            _BY_ADDRESS,
            [
                {"delivery": delivery, "to": a, "became": o.state, "said": o.reply}
                for a, o in outcomes.items()
            ],
        )
        return
    # By number: a row may have been sealed with another key than the newest.
    rows = connection.execute(_ADDRESSES, {"delivery": delivery}).all()
    connection.execute(
        _BY_ID,
        [
            {"key": key, "became": one.state, "said": mask_of(one.reply, [address])}
            for key, address in rows
            for one in [outcomes.get(address)]
            if one is not None
        ],
    )


def settle_delivered(connection: Connection, done: Sequence[Claim], owner: str) -> frozenset[Lease]:
    """Delete fully delivered deliveries in bulk; return the leases ended.

    Settle the rest one by one: their lease is lost, or a recipient failed earlier.
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
