"""Tenants: customers of the operator (a hospital, a group, a region) with domains and accounts.

The operator itself is the first one. Functions take a connection in a transaction; functions that
write need `Database.write()`.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, exists, func, select, update

from mailstore.accounts.changes import note_ending
from mailstore.accounts.names import parse_name, parse_tenant_name, tenant_key
from mailstore.db.dialect import insert_or_ignore
from mailstore.db.people_schema import accounts, credentials, grants, roles, tenants
from mailstore.db.schema import aliases, domains, mailboxes
from mailstore.errors import Conflict, InvalidState, NotFound
from mailstore.scope.conditions import tenant_within
from mailstore.scope.model import WHOLE, Scope


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant; `name` is short and in lower case, `title` the name for people."""

    id: int
    name: str
    title: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TenantSize:
    """Numbers of a tenant's domains and accounts, closed accounts included."""

    domains: int
    accounts: int


_TENANTS = select(tenants.c.id, tenants.c.name, tenants.c.title, tenants.c.created_at)


def add_tenant(conn: Connection, name: str, title: str = "", *, now: datetime) -> Tenant:
    """Add a tenant. Raises InvalidName; Conflict for a name in use."""
    parsed = parse_tenant_name(name)
    shown = parse_name(title, "title of the tenant", empty=True)
    added = conn.scalar(
        insert_or_ignore(conn, tenants)
        .values(name=parsed, title=shown, created_at=now)
        .returning(tenants.c.id)
    )
    if added is None:
        raise Conflict(f"the tenant {parsed} exists already")
    return get_tenant(conn, parsed)


def list_tenants(conn: Connection, scope: Scope = WHOLE) -> list[Tenant]:
    """List the tenants by name; within a scope, these that it covers whole."""
    query = _TENANTS.where(*tenant_within(scope, tenants.c.id)).order_by(tenants.c.name)
    return [Tenant(*row) for row in conn.execute(query)]


def get_tenant(conn: Connection, name: str) -> Tenant:
    """Find a tenant by its short name, in any letter case. Raises NotFound."""
    row = conn.execute(_TENANTS.where(tenants.c.name == tenant_key(name))).one_or_none()
    if row is None:
        raise NotFound(f"there is no tenant {name}; see: mssante tenant list")
    return Tenant(*row)


def get_tenant_by_id(conn: Connection, tenant_id: int) -> Tenant:
    """Find a tenant by its number. Raises NotFound."""
    row = conn.execute(_TENANTS.where(tenants.c.id == tenant_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no tenant of number {tenant_id}")
    return Tenant(*row)


def rename_tenant(
    conn: Connection, name: str, *, to: str | None = None, title: str | None = None
) -> Tenant:
    """Change the short name or the title of a tenant; its id, domains and accounts stay.

    Raises NotFound, InvalidName, and Conflict for a name in use.
    """
    tenant = get_tenant(conn, name)
    short = tenant.name if to is None else parse_tenant_name(to)
    shown = tenant.title if title is None else parse_name(title, "title of the tenant", empty=True)
    taken = select(tenants.c.id).where(tenants.c.name == short, tenants.c.id != tenant.id)
    if conn.scalar(taken) is not None:
        raise Conflict(f"the tenant {short} exists already")
    conn.execute(update(tenants).where(tenants.c.id == tenant.id).values(name=short, title=shown))
    return get_tenant(conn, short)


def tenant_size(conn: Connection, tenant_id: int) -> TenantSize:
    """Count a tenant's domains and accounts."""
    count = select(func.count())
    hosted = count.select_from(domains).where(domains.c.tenant_id == tenant_id)
    people = count.select_from(accounts).where(accounts.c.tenant_id == tenant_id)
    return TenantSize(conn.scalar(hosted) or 0, conn.scalar(people) or 0)


def domain_tenant(conn: Connection, domain: str) -> int:
    """Id of the tenant that owns a hosted domain, in any letter case. Raises NotFound."""
    found = conn.scalar(select(domains.c.tenant_id).where(domains.c.name == domain.lower()))
    if found is None:
        raise NotFound(f"the domain {domain} is not hosted here")
    return int(found)


def mailbox_tenant(conn: Connection, mailbox_id: int) -> int:
    """Id of the tenant that owns a mailbox's domain. Raises NotFound."""
    owner = select(domains.c.tenant_id).join(mailboxes).where(mailboxes.c.id == mailbox_id)
    found = conn.scalar(owner)
    if found is None:
        raise NotFound(f"there is no mailbox of number {mailbox_id}")
    return int(found)


def give_domain(conn: Connection, domain: str, tenant: Tenant, *, now: datetime) -> None:
    """Give a hosted domain to a tenant.

    Raises NotFound; InvalidState while accounts have grants or app passwords on its mailboxes, or
    roles on it, or aliases join it to other domains, as these would cross tenants.
    """
    owner = domain_tenant(conn, domain)
    if owner == tenant.id:
        return
    of_domain = (
        select(mailboxes.c.id).join(domains).where(domains.c.name == domain.lower()).subquery()
    )
    granted = exists().where(
        grants.c.mailbox_id.in_(select(of_domain.c.id)),
        grants.c.ends_at.is_(None) | (grants.c.ends_at > now),
    )
    opened = exists().where(
        credentials.c.mailbox_id.in_(select(of_domain.c.id)), credentials.c.revoked_at.is_(None)
    )
    administered = exists().where(
        roles.c.domain_id.in_(select(domains.c.id).where(domains.c.name == domain.lower())),
        roles.c.ends_at.is_(None) | (roles.c.ends_at > now),
    )
    if conn.scalar(select(granted | opened | administered)):
        raise InvalidState(
            f"accounts of the present tenant open mailboxes of {domain.lower()}, or administer it: "
            "end their grants, app passwords and roles first"
        )
    _check_no_alias(conn, domain.lower(), now)
    conn.execute(
        update(domains).where(domains.c.name == domain.lower()).values(tenant_id=tenant.id)
    )
    note_ending(conn)


def _check_no_alias(conn: Connection, domain: str, now: datetime) -> None:
    """Raise InvalidState if an alias that has not ended joins the domain to another one."""
    of_alias, of_box = domains.alias(), domains.alias()
    joined = (
        select(aliases.c.address)
        .join_from(aliases, mailboxes, aliases.c.mailbox_id == mailboxes.c.id)
        .join(of_alias, of_alias.c.id == aliases.c.domain_id)
        .join(of_box, of_box.c.id == mailboxes.c.domain_id)
        .where(aliases.c.ends_at.is_(None) | (aliases.c.ends_at > now))
        .where(of_alias.c.id != of_box.c.id)
        .where((of_alias.c.name == domain) | (of_box.c.name == domain))
        .limit(1)
    )
    found = conn.scalar(joined)
    if found is not None:
        raise InvalidState(f"the alias {found} joins {domain} to another domain: end it first")
