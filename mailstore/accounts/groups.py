"""Groups of accounts of a tenant, which get grants together.

A removed group keeps its row, to which its past grants refer. Functions take a connection in a
transaction; functions that write need `Database.write()`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from mailstore.accounts.accounts import Account, accounts_by_id, get_account, lock_account
from mailstore.accounts.changes import note_ending
from mailstore.accounts.closing import end_grants
from mailstore.accounts.departures import end_assignments
from mailstore.accounts.endings import Ending, MembershipEnded
from mailstore.accounts.names import page_key, parse_name
from mailstore.db.dialect import insert_or_ignore
from mailstore.db.people_schema import account_groups, accounts, grants, group_members
from mailstore.errors import Conflict, InvalidState, NotFound


@dataclass(frozen=True, slots=True)
class Group:
    """A group of a tenant, with the number of its members."""

    id: int
    tenant_id: int
    name: str
    created_at: datetime
    members: int


def add_group(conn: Connection, tenant_id: int, name: str, *, now: datetime) -> Group:
    """Add an empty group. Raises InvalidName; Conflict for a name in use within the tenant."""
    parsed = parse_name(name, "name of the group")
    added = conn.scalar(
        insert_or_ignore(conn, account_groups)
        .values(tenant_id=tenant_id, name=parsed, created_at=now)
        .returning(account_groups.c.id)
    )
    if added is None:
        raise Conflict(f"the group {parsed} exists already in this tenant")
    return get_group(conn, tenant_id, parsed)


def get_group(conn: Connection, tenant_id: int, name: str) -> Group:
    """Find a group of a tenant by its name. Raises NotFound."""
    parsed = parse_name(name, "name of the group")
    row = conn.execute(
        _groups().where(account_groups.c.tenant_id == tenant_id, account_groups.c.name == parsed)
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no group {parsed} in this tenant")
    return Group(*row)


def list_groups(
    conn: Connection, tenant_id: int, *, after: str = "", limit: int = 100
) -> list[Group]:
    """A page of a tenant's groups by name, behind the name `after`."""
    query = _groups().where(account_groups.c.tenant_id == tenant_id, account_groups.c.name > after)
    return [Group(*row) for row in conn.execute(query.order_by(account_groups.c.name).limit(limit))]


def remove_group(conn: Connection, group: Group, *, now: datetime) -> list[Ending]:
    """Remove a group: its grants and memberships end. Returns the endings."""
    conn.execute(update(account_groups).where(account_groups.c.id == group.id).values(ended_at=now))
    members = conn.scalars(
        delete(group_members)
        .where(group_members.c.group_id == group.id)
        .returning(group_members.c.account_id)
    ).all()
    ended: list[Ending] = [
        *end_grants(conn, grants.c.group_id == group.id, now),
        *(MembershipEnded(account=one, group=group.id, at=now) for one in members),
    ]
    ended += end_assignments(conn, ended, now)
    note_ending(conn)  # last: its row is locked by each act that ends something
    return ended


def add_member(conn: Connection, group: Group, login: str, *, now: datetime) -> Account:
    """Put an account into a group; no error if it is in it already.

    Raises NotFound, also for an account of another tenant; InvalidState for a closed account or a
    group removed meanwhile.
    """
    _of_tenant(conn, group, login)
    account = lock_account(conn, login)
    live = select(account_groups.c.id).where(
        account_groups.c.id == group.id, account_groups.c.ended_at.is_(None)
    )
    if conn.scalar(live.with_for_update()) is None:
        raise InvalidState(f"the group {group.name} was removed meanwhile")
    conn.execute(
        insert_or_ignore(conn, group_members).values(
            group_id=group.id, account_id=account.id, since=now
        )
    )
    return account


def remove_member(
    conn: Connection, group: Group, login: str, *, now: datetime
) -> tuple[Account, list[Ending]]:
    """Take an account out of a group. Raises NotFound, also for one that is not in it."""
    account = _of_tenant(conn, group, login)
    gone = conn.execute(
        delete(group_members).where(
            group_members.c.group_id == group.id, group_members.c.account_id == account.id
        )
    )
    if not gone.rowcount:
        raise NotFound(f"the account {account.login} is not in the group {group.name}")
    ended: list[Ending] = [MembershipEnded(account=account.id, group=group.id, at=now)]
    ended += end_assignments(conn, ended, now)
    note_ending(conn)
    return account, ended


def list_members(
    conn: Connection, group: Group, *, after: str = "", limit: int = 100
) -> list[Account]:
    """A page of the members of a group by log-in name, behind the log-in name `after`."""
    ids = conn.scalars(
        select(accounts.c.id)
        .join(group_members, group_members.c.account_id == accounts.c.id)
        .where(group_members.c.group_id == group.id, accounts.c.login > page_key(after))
        .order_by(accounts.c.login)
        .limit(limit)
    ).all()
    found = accounts_by_id(conn, ids)
    return [found[one] for one in ids]


def group_ids(conn: Connection, account_id: int) -> frozenset[int]:
    """Ids of the groups that an account is in."""
    mine = select(group_members.c.group_id).where(group_members.c.account_id == account_id)
    return frozenset(conn.scalars(mine))


def groups_of(conn: Connection, account_id: int) -> list[str]:
    """Names of the groups that an account is in."""
    mine = (
        select(account_groups.c.name)
        .join(group_members, group_members.c.group_id == account_groups.c.id)
        .where(group_members.c.account_id == account_id)
    )
    return list(conn.scalars(mine.order_by(account_groups.c.name)))


def _of_tenant(conn: Connection, group: Group, login: str) -> Account:
    account = get_account(conn, login)
    if account.tenant_id != group.tenant_id:
        raise NotFound(f"there is no account {login} in the tenant of the group {group.name}")
    return account


def _groups() -> Any:
    count = (
        select(func.count())
        .where(group_members.c.group_id == account_groups.c.id)
        .scalar_subquery()
    )
    columns = account_groups.c
    return select(
        columns.id, columns.tenant_id, columns.name, columns.created_at, count.label("members")
    ).where(columns.ended_at.is_(None))
