"""Mailboxes that nobody uses: listing, warnings, suspension, objection (DOMAIN U1.2).

A mailbox is used by a log-in that opens it (`last_login_at`); its creation and its resumption count
too. Functions take a connection in a transaction; functions that write need `Database.write()`.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, and_, case, func, null, select

from mailstore.accounts.endings import MailboxEnded
from mailstore.db.dialect import insert_or_ignore
from mailstore.db.people_schema import inactivity
from mailstore.db.schema import domains, mailboxes
from mailstore.errors import InvalidState
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.mailboxes.lifecycle import lock_for_rights, set_state
from mailstore.mailboxes.states import InboundMail, MailboxState
from mailstore.rights.inactivity_ladder import (
    DueStep,
    LadderPolicy,
    LadderStep,
    UnusedFacts,
    next_step,
)
from mailstore.rights.mailbox_endings import end_sessions
from mailstore.scope.conditions import domain_within
from mailstore.scope.model import WHOLE, Scope

_EVERY: Final = frozenset(MailboxType)


@dataclass(frozen=True, slots=True)
class UnusedMailbox:
    """A mailbox that nobody has used for a time; `address` as compared."""

    id: int
    address: str
    type: MailboxType
    state: MailboxState
    tenant_id: int
    last_login_at: datetime | None
    facts: UnusedFacts
    kept_reason: str | None

    def next_step(self, policy: LadderPolicy) -> DueStep:
        """Next step, and when it is due."""
        return next_step(policy, self.facts)


def unused_mailboxes(
    conn: Connection,
    since: datetime,
    *,
    types: Collection[MailboxType] = _EVERY,
    after: str = "",
    tenant_id: int | None = None,
    scope: Scope = WHOLE,
    limit: int = 100,
) -> list[UnusedMailbox]:
    """List mailboxes that are not deleted, and unused since a time, by address.

    Up to `limit` after the address `after` (as compared).
    """
    query = (
        _rows()
        .where(
            mailboxes.c.deleted_at.is_(None),
            mailboxes.c.address > after,
            mailboxes.c.type.in_([one.value for one in types]),
            since >= _USED_AT,
            *domain_within(scope),
        )
        .order_by(mailboxes.c.address)
        .limit(limit)
    )
    if tenant_id is not None:
        query = query.where(domains.c.tenant_id == tenant_id)
    return [_unused(row) for row in conn.execute(query)]


def lock_unused(conn: Connection, mailbox_id: int) -> UnusedMailbox:
    """Lock a mailbox until the transaction ends, and return its use.

    Raises NotFound, and InvalidState for a deleted one.
    """
    lock_for_rights(conn, mailbox_id)
    return _unused(conn.execute(_rows().where(mailboxes.c.id == mailbox_id)).one())


def note_warning(conn: Connection, mailbox: UnusedMailbox, now: datetime) -> int:
    """Note that a warning goes to the mailbox's holder; returns its number, 1 for the first."""
    number = mailbox.facts.valid_warnings + 1
    _set(conn, mailbox.id, warnings=number, warned_at=now)
    return number


def suspend_unused(conn: Connection, mailbox: UnusedMailbox, now: datetime) -> MailboxEnded:
    """Suspend an unused mailbox; its mail is refused, so that senders learn that nobody reads it.

    Returns the ending for the doors. Raises InvalidState unless it is active.
    """
    if mailbox.state is not MailboxState.ACTIVE:
        raise InvalidState(f"the mailbox {mailbox.address} is {mailbox.state}")
    set_state(
        conn,
        mailbox.address,
        MailboxState.SUSPENDED,
        reason=f"unused since {mailbox.facts.used_at:%Y-%m-%d}",
        inbound=InboundMail.REFUSE,
        now=now,
    )
    return end_sessions(conn, mailbox.id, now, closed=False)


def keep_mailbox(
    conn: Connection, mailbox_id: int, until: datetime, reason: str, *, now: datetime
) -> UnusedMailbox:
    """Take no step before a time, as its holder asks; warnings then begin anew.

    Raises NotFound; InvalidState for a time that is past, and a deleted mailbox.
    """
    if until <= now:
        raise InvalidState(f"{until:%Y-%m-%d} is past")
    lock_for_rights(conn, mailbox_id)
    _set(
        conn,
        mailbox_id,
        kept_until=until,
        kept_reason=reason,
        warnings=0,
        warned_at=null(),
    )
    return lock_unused(conn, mailbox_id)


def due_mailboxes(
    found: Iterable[UnusedMailbox], policy: LadderPolicy, now: datetime
) -> list[UnusedMailbox]:
    """Mailboxes whose warning or suspension is due."""
    steps = ((one, one.next_step(policy)) for one in found)
    return [one for one, next_ in steps if next_.step is not LadderStep.DELETE and next_.due <= now]


def _set(conn: Connection, mailbox_id: int, **values: Any) -> None:
    conn.execute(insert_or_ignore(conn, inactivity).values(mailbox_id=mailbox_id))
    conn.execute(inactivity.update().where(inactivity.c.mailbox_id == mailbox_id).values(values))


def _rows() -> Select[Any]:
    return (
        select(
            mailboxes.c.id,
            mailboxes.c.address,
            mailboxes.c.type,
            mailboxes.c.state,
            mailboxes.c.state_since,
            mailboxes.c.created_at,
            mailboxes.c.last_login_at,
            domains.c.tenant_id,
            func.coalesce(inactivity.c.warnings, 0).label("warnings"),
            inactivity.c.warned_at,
            inactivity.c.kept_until,
            inactivity.c.kept_reason,
        )
        .join_from(mailboxes, domains)
        .outerjoin(inactivity, inactivity.c.mailbox_id == mailboxes.c.id)
    )


def _unused(row: Row[Any]) -> UnusedMailbox:
    active = row.state == MailboxState.ACTIVE
    uses = (row.created_at, row.last_login_at, row.state_since if active else None)
    return UnusedMailbox(
        id=row.id,
        address=row.address,
        type=MailboxType(row.type),
        state=MailboxState(row.state),
        tenant_id=row.tenant_id,
        last_login_at=row.last_login_at,
        facts=UnusedFacts(
            used_at=max(one for one in uses if one is not None),
            warnings=row.warnings,
            warned_at=row.warned_at,
            # One of before 0.2 has no date of its state.
            stopped_at=None if active else row.state_since or row.created_at,
            kept_until=row.kept_until,
        ),
        kept_reason=row.kept_reason,
    )


def _latest(*columns: Any) -> Any:
    """The latest of the columns that are not null; the first never is."""
    found = columns[0]
    for column in columns[1:]:
        found = case((and_(column.is_not(None), column > found), column), else_=found)
    return found


_RESUMED_AT: Final = case(
    (mailboxes.c.state == MailboxState.ACTIVE.value, mailboxes.c.state_since), else_=None
)
_USED_AT: Final = _latest(mailboxes.c.created_at, mailboxes.c.last_login_at, _RESUMED_AT)
