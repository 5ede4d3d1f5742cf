"""Grants on mailboxes: give, end, list (DOMAIN §9.36).

Functions take a connection in a transaction; functions that write need `Database.write()`.
A grant is never changed: it ends, and another begins.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, func, insert, or_, select, update

from mailstore.accounts.accounts import lock_live_account
from mailstore.accounts.changes import note_ending
from mailstore.accounts.departures import end_assignments
from mailstore.accounts.endings import Ending, GrantEnded
from mailstore.db.people_schema import account_groups, accounts, grants
from mailstore.db.schema import domains, mailboxes
from mailstore.errors import Conflict, Forbidden, InvalidState, NotFound
from mailstore.mailboxes.lifecycle import lock_for_rights
from mailstore.news.changes import note_changed
from mailstore.rights.facts import read_grant
from mailstore.rights.model import Grant, Period, Right
from mailstore.scope.conditions import domain_within
from mailstore.scope.model import WHOLE, Scope

_MAX_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Grantee:
    """Receiver of a grant: an account or a group; `name`: its login or name."""

    id: int
    name: str
    tenant_id: int
    group: bool = False


@dataclass(frozen=True, slots=True)
class GrantRow:
    """A grant as listed."""

    id: int
    mailbox: str
    grantee: str
    group: bool
    grant: Grant
    given_by: str


def give(
    conn: Connection,
    mailbox_id: int,
    tenant_id: int,
    grantee: Grantee,
    rights: frozenset[Right],
    period: Period,
    *,
    given_by: str,
) -> int:
    """Give rights on a mailbox of a tenant; returns the grant's number.

    Raises Forbidden for another tenant; InvalidState for no right, ACT without READ, a period that
    is empty, a closed account, a removed group or a deleted mailbox; Conflict where a grant of the
    same account or group is in force in that period.
    """
    if grantee.tenant_id != tenant_id:
        raise Forbidden(
            f"{grantee.name} belongs to another tenant than the mailbox: make an account there"
        )
    if not rights:
        raise InvalidState("a grant needs a right: read, act, send or manage")
    if Right.ACT in rights and Right.READ not in rights:
        raise InvalidState("act needs read too: nobody can move or flag a message unseen")
    if period.ends is not None and period.ends <= period.begins:
        raise InvalidState("the grant would end before it begins")
    lock_for_rights(conn, mailbox_id)
    _lock_grantee(conn, grantee)
    column = grants.c.group_id if grantee.group else grants.c.account_id
    overlapping = conn.scalar(
        select(grants.c.id).where(
            grants.c.mailbox_id == mailbox_id,
            column == grantee.id,
            or_(grants.c.ends_at.is_(None), grants.c.ends_at > period.begins),
            *([grants.c.begins_at < period.ends] if period.ends is not None else []),
        )
    )
    if overlapping is not None:
        raise Conflict(f"{grantee.name} has the grant {overlapping} already: end it first")
    number: int = conn.execute(
        insert(grants)
        .values(
            mailbox_id=mailbox_id,
            account_id=None if grantee.group else grantee.id,
            group_id=grantee.id if grantee.group else None,
            may_read=Right.READ in rights,
            may_act=Right.ACT in rights,
            may_send=Right.SEND in rights,
            may_manage=Right.MANAGE in rights,
            begins_at=period.begins,
            ends_at=period.ends,
            given_by=given_by,
        )
        .returning(grants.c.id)
    ).scalar_one()
    note_changed(conn, [mailbox_id])
    return number


def end(conn: Connection, grant_id: int, at: datetime) -> tuple[GrantRow, list[Ending]]:
    """End a grant; before its begin, it never begins.

    Returns it and the endings for the doors. Raises NotFound; InvalidState if it is over.
    """
    found = get(conn, grant_id)
    period = found.grant.period
    if period.ends is not None and period.ends <= at:
        raise InvalidState(f"the grant {grant_id} ended at {period.ends.isoformat()}")
    moment = max(at, period.begins)
    conn.execute(update(grants).where(grants.c.id == grant_id).values(ends_at=moment))
    given = found.grant
    ended: list[Ending] = [
        GrantEnded(
            grant=grant_id,
            mailbox=given.mailbox_id,
            account=given.account_id,
            group=given.group_id,
            at=moment,
        )
    ]
    ended += end_assignments(conn, ended, at)
    note_ending(conn)
    note_changed(conn, [given.mailbox_id])
    return get(conn, grant_id), ended


def get(conn: Connection, grant_id: int) -> GrantRow:
    """Find a grant. Raises NotFound."""
    row = conn.execute(_rows().where(grants.c.id == grant_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no grant {grant_id}")
    return _grant_row(row)


def list_grants(
    conn: Connection,
    *,
    mailbox_id: int | None = None,
    account_id: int | None = None,
    ends_before: datetime | None = None,
    at: datetime | None = None,
    scope: Scope = WHOLE,
    after: int = 0,
    limit: int = _MAX_PAGE,
) -> list[GrantRow]:
    """List up to `limit` grants with numbers above `after`, all or these in force at a time.

    `scope`: of the mailboxes.
    """
    query = _rows().where(grants.c.id > after, *domain_within(scope))
    query = query.order_by(grants.c.id).limit(limit)
    if mailbox_id is not None:
        query = query.where(grants.c.mailbox_id == mailbox_id)
    if account_id is not None:
        query = query.where(grants.c.account_id == account_id)
    if ends_before is not None:
        query = query.where(grants.c.ends_at < ends_before)
    if at is not None:
        query = query.where(_in_force(at))
    return [_grant_row(row) for row in conn.execute(query)]


def _lock_grantee(conn: Connection, grantee: Grantee) -> None:
    """Lock the account or the group, so that neither its end nor another grant crosses this one."""
    if not grantee.group:
        lock_live_account(conn, grantee.id, grantee.name)
        return
    row = account_groups.c
    live = select(row.id).where(row.id == grantee.id, row.ended_at.is_(None))
    if conn.scalar(live.with_for_update()) is None:
        raise InvalidState(f"the group {grantee.name} was removed")


def _in_force(at: datetime) -> Any:
    return or_(grants.c.ends_at.is_(None), grants.c.ends_at > at)


def _rows() -> Select[Any]:
    return (
        select(
            grants,
            mailboxes.c.address.label("mailbox"),
            func.coalesce(accounts.c.login, account_groups.c.name).label("grantee"),
        )
        .join_from(grants, mailboxes)
        .join(domains, domains.c.id == mailboxes.c.domain_id)
        .outerjoin(accounts, accounts.c.id == grants.c.account_id)
        .outerjoin(account_groups, account_groups.c.id == grants.c.group_id)
    )


def _grant_row(row: Row[Any]) -> GrantRow:
    return GrantRow(
        id=row.id,
        mailbox=row.mailbox,
        grantee=row.grantee,
        group=row.group_id is not None,
        grant=read_grant(row),
        given_by=row.given_by,
    )
