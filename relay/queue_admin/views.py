"""Views of the queue for operators: by destination, by delivery, or a message in full.

In a view of some domains only (`DeliveryFilter.of_domains`), reasons of holds and pauses are masked
and errors are those of the deliveries seen: others may name the mail of other tenants.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, select

from foundation.privacy import MASK
from mailstore.db.dialect import disable_statement_timeout
from mailstore.db.schema import messages
from mailstore.db.store_time import store_now
from relay.queue.model import ALL
from relay.queue.schema import deliveries, delivery_recipients, destinations
from relay.queue_admin.filter import DeliveryFilter, DeliveryStatus
from relay.smtp.outcome import State


@dataclass(frozen=True, slots=True)
class DestinationSummary:
    """A line of the summary: a domain and the mail that waits for it.

    `state` is `active`, `paused` or `dead`; `paused` the reason.  `waiting` includes deliveries in
    flight.  `oldest` is the time of the oldest delivery, `age` its age in whole seconds.
    `next_attempt` is None if none will be made.
    """

    domain: str
    state: str
    waiting: int
    in_flight: int
    held: int
    failed: int
    oldest: datetime | None
    age: int | None
    next_attempt: datetime | None
    last_error: str
    paused: str | None
    dead_until: datetime | None


def summary(
    connection: Connection, wanted: DeliveryFilter, now: datetime
) -> list[DestinationSummary]:
    """The deliveries that a filter matches, by destination, longest wait first; then other pauses.

    A pause is shown even if no mail waits behind it: it must not be forgotten.
    """
    d = deliveries.c
    disable_statement_timeout(connection)
    waits, held, failed = (one.condition for one in DeliveryStatus)
    in_flight = _in_flight(now)
    statement = (
        select(
            d.domain,
            func.count().filter(waits).label("waiting"),
            func.count().filter(in_flight).label("in_flight"),
            func.count().filter(held).label("held"),
            func.count().filter(failed).label("failed"),
            func.min(d.created_at).label("oldest"),
            func.min(d.due).filter(waits).label("due"),
            func.max(d.last_error).label("last_error"),
        )
        .where(*wanted.conditions(now))
        .group_by(d.domain)
    )
    known = {row.domain: row for row in connection.execute(select(destinations))}
    rows = sorted(connection.execute(statement).all(), key=lambda row: (row.oldest, row.domain))
    found = [_line(row, known.get(row.domain), known.get(ALL), now, wanted) for row in rows]
    if wanted == DeliveryFilter():
        seen = {row.domain for row in rows}
        found += [
            DestinationSummary(
                domain, "paused", 0, 0, 0, 0, None, None, None, row.last_error, row.paused, None
            )
            for domain, row in sorted(known.items())
            if row.paused is not None and domain not in seen
        ]
    return found


def _line(
    row: Row[Any],
    own: Row[Any] | None,
    everywhere: Row[Any] | None,
    now: datetime,
    wanted: DeliveryFilter,
) -> DestinationSummary:
    paused = (own and own.paused) or (everywhere and everywhere.paused)
    dead_until = own.dead_until if own and own.dead_until and own.dead_until > now else None
    due = None if row.due is None else max(row.due, dead_until or row.due)
    return DestinationSummary(
        domain=row.domain,
        state="paused" if paused else "dead" if dead_until else "active",
        waiting=row.waiting,
        in_flight=row.in_flight,
        held=row.held,
        failed=row.failed,
        oldest=row.oldest,
        age=max(int((now - row.oldest).total_seconds()), 0),
        next_attempt=None if paused else due,
        # The error of the destination says more than the error of a message.
        last_error=(own and wanted.of_domains is None and own.last_error) or row.last_error,
        paused=_reason(paused, wanted),
        dead_until=dead_until,
    )


def _reason(text: str | None, wanted: DeliveryFilter) -> str | None:
    """Reason of a hold or a pause, masked in a view of some domains only."""
    return MASK if text is not None and wanted.of_domains is not None else text


@dataclass(frozen=True, slots=True)
class DeliverySummary:
    """A line of the list; `recipients` are those without the message yet."""

    id: int
    message_id: str
    domain: str
    state: DeliveryStatus
    in_flight: bool
    held: str | None
    traffic: str
    mailbox_type: str | None
    sender: str
    recipients: tuple[str, ...]
    size: int
    attempts: int
    created_at: datetime
    due: datetime
    last_error: str


@dataclass(frozen=True, slots=True)
class RecipientDetail:
    """A recipient: its state, the peer's last reply, the DSNs that RCPT asked for."""

    address: str
    state: str
    reply: str
    notify: str
    orcpt: str | None


@dataclass(frozen=True, slots=True)
class DeliveryDetail:
    """All facts of a delivery in the queue.

    `paused` is None or the reason of a pause; `lease_owner` the process with the last lease.
    """

    id: int
    message_id: str
    domain: str
    state: DeliveryStatus
    in_flight: bool
    held: str | None
    traffic: str
    mailbox_type: str | None
    sender: str
    size: int
    attempts: int
    created_at: datetime
    due: datetime
    last_error: str
    smtputf8: bool
    envid: str | None
    ret: str | None
    delay_told: bool
    lease_owner: str | None
    lease_until: datetime | None
    paused: str | None
    dead_until: datetime | None
    recipients: tuple[RecipientDetail, ...]


def listing(
    connection: Connection, wanted: DeliveryFilter, now: datetime, limit: int
) -> list[DeliverySummary]:
    """The oldest `limit` deliveries that a filter matches."""
    d = deliveries.c
    disable_statement_timeout(connection)
    statement = (
        select(
            d.id, d.message_id, d.domain, d.state, d.held, d.traffic, d.mailbox_type, d.sender,
            d.attempts, d.created_at, d.due, d.last_error, messages.c.size,
            _in_flight(now).label("in_flight"),
        )
        .join(messages, messages.c.id == d.message_id)
        .where(*wanted.conditions(now))
        .order_by(d.created_at, d.id)
        .limit(limit)
    )  # fmt: skip
    rows = connection.execute(statement).all()
    recipients = _recipients(connection, [row.id for row in rows])
    found = []
    for row in rows:
        facts = _common(row._mapping, wanted)
        left = (one.address for one in recipients.get(row.id, ()) if one.state != State.DELIVERED)
        found.append(DeliverySummary(recipients=tuple(left), **facts))
    return found


def show(connection: Connection, wanted: DeliveryFilter, now: datetime) -> list[DeliveryDetail]:
    """All facts of the few deliveries that a filter matches, by their numbers."""
    d, known = deliveries.c, destinations.c
    statement = (
        select(
            d.id, d.message_id, d.domain, d.state, d.held, d.traffic, d.mailbox_type, d.sender,
            d.attempts, d.created_at, d.due, d.last_error, d.smtputf8, d.envid, d.ret,
            d.delay_told, d.lease_owner, d.lease_until, messages.c.size, known.paused,
            known.dead_until, _in_flight(now).label("in_flight"),
        )
        .join(messages, messages.c.id == d.message_id)
        .outerjoin(destinations, known.domain == d.domain)
        .where(*wanted.conditions(now))
        .order_by(d.id)
    )  # fmt: skip
    rows = connection.execute(statement).all()
    recipients = _recipients(connection, [row.id for row in rows])
    everywhere = connection.scalar(select(known.paused).where(known.domain == ALL))
    found = []
    for row in rows:
        facts = _common(row._mapping, wanted)
        facts["paused"] = _reason(facts["paused"] or everywhere, wanted)
        found.append(DeliveryDetail(recipients=recipients.get(row.id, ()), **facts))
    return found


def _in_flight(now: datetime) -> ColumnElement[bool]:
    """Whether a lease is valid now, by the clock that leases use."""
    until = deliveries.c.lease_until
    return and_(until.is_not(None), until > store_now(now))


def _common(row: Mapping[Any, Any], wanted: DeliveryFilter) -> dict[str, Any]:
    state = DeliveryStatus.of(row["state"], row["held"])
    return {**row, "state": state, "held": _reason(row["held"], wanted)}


def _recipients(
    connection: Connection, ids: Sequence[int]
) -> dict[int, tuple[RecipientDetail, ...]]:
    r = delivery_recipients.c
    found: dict[int, list[RecipientDetail]] = {}
    statement = (
        select(r.delivery_id, r.address, r.state, r.reply, r.notify, r.orcpt)
        .where(r.delivery_id.in_(ids))
        .order_by(r.id)
    )
    for key, *facts in connection.execute(statement):
        found.setdefault(key, []).append(RecipientDetail(*facts))
    return {key: tuple(several) for key, several in found.items()}
