"""Roles of administrators: give, end, list.

Functions take a connection in a transaction; functions that write need `Database.write()`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, insert, or_, select, update

from mailstore.accounts.accounts import get_account_by_id, lock_live_account
from mailstore.accounts.changes import note_ending
from mailstore.db.people_schema import accounts, roles, tenants
from mailstore.db.schema import domains
from mailstore.errors import Conflict, Forbidden, InvalidState, NotFound
from mailstore.rights.facts import read_role
from mailstore.rights.model import Role
from mailstore.scope.conditions import domain_within, tenant_within
from mailstore.scope.model import WHOLE, Scope


@dataclass(frozen=True, slots=True)
class RoleRow:
    """A role as listed; `scope`: name of the tenant or domain, empty for the whole operator."""

    id: int
    account: str
    role: Role
    scope: str
    given_by: str


def give_role(conn: Connection, account_id: int, role: Role, *, given_by: str) -> int:
    """Give a role to an account; returns its number.

    Raises Forbidden for a domain or tenant that is not the account's own: only a role for the whole
    operator crosses tenants. Raises InvalidState for a closed account, and Conflict for a role that
    the account has already.
    """
    account = get_account_by_id(conn, account_id)
    lock_live_account(conn, account_id, account.login)
    of_domain = select(domains.c.tenant_id).where(domains.c.id == role.domain_id)
    scope = conn.scalar(of_domain) if role.domain_id is not None else role.tenant_id
    if scope is not None and scope != account.tenant_id:
        raise Forbidden("the account belongs to another tenant than this domain or tenant")
    same = conn.scalar(
        select(roles.c.id).where(
            roles.c.account_id == account_id,
            roles.c.role == role.name.value,
            roles.c.tenant_id.is_not_distinct_from(role.tenant_id),
            roles.c.domain_id.is_not_distinct_from(role.domain_id),
            or_(roles.c.ends_at.is_(None), roles.c.ends_at > role.period.begins),
        )
    )
    if same is not None:
        raise Conflict(f"the account has this role already, number {same}")
    number: int = conn.execute(
        insert(roles)
        .values(
            account_id=account_id,
            role=role.name.value,
            tenant_id=role.tenant_id,
            domain_id=role.domain_id,
            begins_at=role.period.begins,
            ends_at=role.period.ends,
            given_by=given_by,
        )
        .returning(roles.c.id)
    ).scalar_one()
    return number


def end_role(conn: Connection, role_id: int, at: datetime) -> RoleRow:
    """End a role. Raises NotFound; InvalidState if it is over."""
    found = get_role(conn, role_id)
    ends = found.role.period.ends
    if ends is not None and ends <= at:
        raise InvalidState(f"the role {role_id} ended at {ends.isoformat()}")
    moment = max(at, found.role.period.begins)
    conn.execute(update(roles).where(roles.c.id == role_id).values(ends_at=moment))
    note_ending(conn)
    return get_role(conn, role_id)


def get_role(conn: Connection, role_id: int) -> RoleRow:
    """Find a role. Raises NotFound."""
    row = conn.execute(_rows().where(roles.c.id == role_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no role with the number {role_id}")
    return _role_row(row)


def list_roles(
    conn: Connection,
    *,
    account_id: int | None = None,
    at: datetime | None = None,
    scope: Scope = WHOLE,
) -> list[RoleRow]:
    """List roles by account: all, of one account, or these that are not over at a time.

    Within a scope: the roles for a tenant or a domain in it.
    """
    query = _rows().order_by(accounts.c.login, roles.c.id)
    if account_id is not None:
        query = query.where(roles.c.account_id == account_id)
    if at is not None:
        query = query.where(or_(roles.c.ends_at.is_(None), roles.c.ends_at > at))
    if not scope.whole:
        of_domain = and_(roles.c.domain_id.is_not(None), *domain_within(scope))
        query = query.where(or_(of_domain, *tenant_within(scope, roles.c.tenant_id)))
    return [_role_row(row) for row in conn.execute(query)]


def _rows() -> Select[Any]:
    return (
        select(
            roles,
            accounts.c.login,
            tenants.c.name.label("tenant"),
            domains.c.name.label("domain"),
        )
        .join_from(roles, accounts)
        .outerjoin(tenants, tenants.c.id == roles.c.tenant_id)
        .outerjoin(domains, domains.c.id == roles.c.domain_id)
    )


def _role_row(row: Row[Any]) -> RoleRow:
    return RoleRow(
        id=row.id,
        account=row.login,
        role=read_role(row),
        scope=row.domain or row.tenant or "",
        given_by=row.given_by,
    )
