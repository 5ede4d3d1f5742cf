"""Messages and recipients that a mailbox sent in an hour of the clock (UTC), for its limits.

Counted in the transaction that accepts a message, under a lock of the row, so that several
processes and machines count together. Functions take a connection in a transaction.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Connection, Update, delete, func, select, update

from mailstore.db.dialect import insert_or_ignore
from mailstore.db.schema import domains, mailboxes, sent_counts
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.scope.conditions import domain_within
from mailstore.scope.model import WHOLE, Scope

KEPT: Final = timedelta(days=2)  # for `mssante mailbox sent`
_SENT: Final = sent_counts.c


class SentCount(NamedTuple):
    """Counts of a mailbox in an hour."""

    messages: int = 0
    recipients: int = 0


class SendingMailbox(NamedTuple):
    """A mailbox that sent in an hour, or was refused; `hour` is its start."""

    address: str
    type: str
    hour: datetime
    messages: int
    recipients: int
    refused: int


def hour_of(now: datetime) -> datetime:
    """Start of the hour."""
    return now.replace(minute=0, second=0, microsecond=0)


def sent_in_hour(conn: Connection, mailbox_id: int, now: datetime) -> SentCount:
    """Counts of a mailbox in the present hour."""
    query = select(_SENT.messages, _SENT.recipients).where(
        _SENT.mailbox_id == mailbox_id, _SENT.hour == hour_of(now)
    )
    row = conn.execute(query).one_or_none()
    return SentCount() if row is None else SentCount(*row)


def count_sent(conn: Connection, mailbox_id: int, now: datetime, recipients: int) -> SentCount:
    """Count a message, in a write transaction; return the counts before it.

    The row stays locked until the transaction ends.
    """
    counted = _row(conn, mailbox_id, now).values(
        messages=_SENT.messages + 1, recipients=_SENT.recipients + recipients
    )
    row = conn.execute(counted.returning(_SENT.messages, _SENT.recipients)).one()
    return SentCount(row.messages - 1, row.recipients - recipients)


def count_refused(conn: Connection, mailbox_id: int, now: datetime) -> int:
    """Count a message that a limit refused, in a write transaction; return the hour's number."""
    counted = _row(conn, mailbox_id, now).values(refused=_SENT.refused + 1)
    return int(conn.execute(counted.returning(_SENT.refused)).scalar_one())


def address_and_tenant(conn: Connection, mailbox_id: int) -> tuple[str, int]:
    """Address (as compared) and tenant's id of a mailbox that sends."""
    query = select(mailboxes.c.address, domains.c.tenant_id).join_from(mailboxes, domains)
    row = conn.execute(query.where(mailboxes.c.id == mailbox_id)).one()
    return row.address, row.tenant_id


def limited_by_type(conn: Connection, now: datetime) -> dict[MailboxType, int]:
    """Number of mailboxes by type that a limit refused in this hour or the hour before."""
    hour = hour_of(now)
    # A clock that was ahead for a while leaves hours of the future.
    lately = _SENT.hour.between(hour - timedelta(hours=1), hour)
    query = (
        select(mailboxes.c.type, func.count(_SENT.mailbox_id.distinct()))
        .join_from(sent_counts, mailboxes)
        .where(lately, _SENT.refused > 0)
        .group_by(mailboxes.c.type)
    )
    return {MailboxType(row[0]): row[1] for row in conn.execute(query)}


def list_sending(
    conn: Connection, since: datetime, limit: int, scope: Scope = WHOLE
) -> Sequence[SendingMailbox]:
    """List up to `limit` counts since a time: refused ones first, then the most recipients."""
    query = (
        select(
            mailboxes.c.address,
            mailboxes.c.type,
            _SENT.hour,
            _SENT.messages,
            _SENT.recipients,
            _SENT.refused,
        )
        .join_from(sent_counts, mailboxes)
        .join(domains, domains.c.id == mailboxes.c.domain_id)
        .where(_SENT.hour >= hour_of(since), *domain_within(scope))
        .order_by(_SENT.refused.desc(), _SENT.recipients.desc(), mailboxes.c.address, _SENT.hour)
        .limit(limit)
    )
    return [SendingMailbox(*row) for row in conn.execute(query)]


def drop_old(conn: Connection, now: datetime) -> int:
    """Delete counts older than `KEPT`, or as far in the future by a clock that was ahead.

    In a write transaction; returns their number.
    """
    kept = _SENT.hour.between(now - KEPT, now + KEPT)
    return conn.execute(delete(sent_counts).where(~kept)).rowcount


def _row(conn: Connection, mailbox_id: int, now: datetime) -> Update:
    """An UPDATE of the row of this hour, which is made if it is missing."""
    hour = hour_of(now)
    first = {"mailbox_id": mailbox_id, "hour": hour, "messages": 0, "recipients": 0}
    conn.execute(insert_or_ignore(conn, sent_counts), first)
    return update(sent_counts).where(_SENT.mailbox_id == mailbox_id, _SENT.hour == hour)
