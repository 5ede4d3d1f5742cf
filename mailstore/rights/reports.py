"""Reports of rights: mailboxes that nobody may read, unused accounts, a person's departure.

Each is bounded by `limit` and continues after the last key of the page before. Functions take a
connection in a read transaction.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, ColumnElement, Connection, and_, exists, or_, select

from mailstore.db.people_schema import (
    account_identifiers,
    accounts,
    credentials,
    grants,
    group_members,
)
from mailstore.db.schema import domains, mailbox_holders, mailboxes
from mailstore.rights.grants import GrantRow, list_grants
from mailstore.rights.roles import RoleRow, list_roles
from mailstore.scope.conditions import domain_within, tenant_within
from mailstore.scope.model import WHOLE, Scope


@dataclass(frozen=True, slots=True)
class UnusedAccount:
    """An active account without a log-in for a time; None: it never logged in."""

    login: str
    created_at: datetime
    last_login_at: datetime | None


@dataclass(frozen=True, slots=True)
class Departure:
    """Things that an account leaves behind, and somebody else must take over.

    `held`: mailboxes that it holds by a national identifier (PER: close; ORG and CAB: name another
    responsible person). `orphaned`: mailboxes of its grants and groups that nobody else may read,
    or nobody else manages, by a grant.
    """

    held: tuple[str, ...]
    orphaned: tuple[str, ...]
    grants: tuple[GrantRow, ...]
    roles: tuple[RoleRow, ...]


def unreadable_mailboxes(
    conn: Connection,
    at: datetime,
    *,
    after: str = "",
    tenant_id: int | None = None,
    scope: Scope = WHOLE,
    limit: int = 100,
) -> list[str]:
    """List active ORG and CAB mailboxes that no active account may read, by address."""
    query = (
        select(mailboxes.c.address)
        .join_from(mailboxes, domains)
        .where(
            mailboxes.c.type.in_(("ORG", "CAB")),
            mailboxes.c.state == "active",
            mailboxes.c.deleted_at.is_(None),
            mailboxes.c.address > after,
            ~_has_grant(at, grants.c.may_read),
            ~_has_holder(None),
            *domain_within(scope),
        )
        .order_by(mailboxes.c.address)
        .limit(limit)
    )
    if tenant_id is not None:
        query = query.where(domains.c.tenant_id == tenant_id)
    return list(conn.scalars(query))


def unused_accounts(
    conn: Connection,
    since: datetime,
    *,
    after: str = "",
    tenant_id: int | None = None,
    scope: Scope = WHOLE,
    limit: int = 100,
) -> list[UnusedAccount]:
    """List active accounts that have not logged in since a time, by login."""
    query = (
        select(accounts)
        .where(
            accounts.c.state == "active",
            accounts.c.login > after,
            accounts.c.created_at < since,
            or_(accounts.c.last_login_at.is_(None), accounts.c.last_login_at < since),
            *tenant_within(scope, accounts.c.tenant_id),
        )
        .order_by(accounts.c.login)
        .limit(limit)
    )
    if tenant_id is not None:
        query = query.where(accounts.c.tenant_id == tenant_id)
    return [
        UnusedAccount(row.login, row.created_at, row.last_login_at) for row in conn.execute(query)
    ]


def one_factor_roles(conn: Connection, at: datetime, scope: Scope = WHOLE) -> list[RoleRow]:
    """List roles not over at a time of active accounts that have no TOTP, by account.

    Such a role is of no use where `rights.two_factors_for_roles` is on.
    """
    second = exists(
        select(credentials.c.id).where(
            credentials.c.account_id == accounts.c.id,
            credentials.c.kind == "totp",
            credentials.c.revoked_at.is_(None),
            or_(credentials.c.ends_at.is_(None), credentials.c.ends_at > at),
        )
    )
    known = list_roles(conn, at=at, scope=scope)
    logins = {row.account for row in known}
    active = select(accounts.c.login).where(
        accounts.c.login.in_(logins), accounts.c.state == "active"
    )
    weak = set(conn.scalars(active.where(~second)))
    return [row for row in known if row.account in weak]


def departure(conn: Connection, account_id: int, at: datetime) -> Departure:
    """Report on an account whose holder leaves or has died."""
    held = conn.scalars(
        select(mailboxes.c.address)
        .where(_has_holder(account_id), mailboxes.c.state != "closed")
        .order_by(mailboxes.c.address)
    )
    groups = select(group_members.c.group_id).where(group_members.c.account_id == account_id)
    mine = select(grants.c.mailbox_id).where(
        or_(grants.c.account_id == account_id, grants.c.group_id.in_(groups)), _in_force(at)
    )
    orphaned = conn.scalars(
        select(mailboxes.c.address)
        .where(
            mailboxes.c.id.in_(mine),
            mailboxes.c.state != "closed",
            ~_has_grant(at, grants.c.may_read, but=account_id)
            | ~_has_grant(at, grants.c.may_manage, but=account_id),
        )
        .order_by(mailboxes.c.address)
    )
    return Departure(
        held=tuple(held),
        orphaned=tuple(orphaned),
        grants=tuple(_all_grants(conn, account_id, at)),
        roles=tuple(list_roles(conn, account_id=account_id, at=at)),
    )


def _all_grants(conn: Connection, account_id: int, at: datetime) -> Iterator[GrantRow]:
    after = 0
    while page := list_grants(conn, account_id=account_id, at=at, after=after):
        yield from page
        after = page[-1].id


def _has_grant(at: datetime, right: Column[bool], *, but: int | None = None) -> ColumnElement[bool]:
    """True for a mailbox on which an active account, other than `but`, has the right by grant."""
    member = accounts.alias()
    reached = or_(
        member.c.id == grants.c.account_id,
        exists(
            select(group_members.c.account_id)
            .where(
                group_members.c.group_id == grants.c.group_id,
                group_members.c.account_id == member.c.id,
            )
            .correlate(grants, member)
        ),
    )
    # Each level names the tables that it takes from outside: SQLAlchemy looks one level up alone.
    return exists(
        select(grants.c.id)
        .correlate(mailboxes)
        .where(
            grants.c.mailbox_id == mailboxes.c.id,
            right,
            grants.c.begins_at <= at,
            _in_force(at),
            exists(
                select(member.c.id)
                .where(
                    reached,
                    member.c.state == "active",
                    *([] if but is None else [member.c.id != but]),
                )
                .correlate(grants)
            ),
        )
    )


def _has_holder(account_id: int | None) -> ColumnElement[bool]:
    """True for a mailbox that the account, or any active account, holds by an identifier."""
    holder = accounts.alias()
    same = or_(
        and_(
            account_identifiers.c.kind == mailboxes.c.identifier_kind,
            account_identifiers.c.value == mailboxes.c.identifier_value,
        ),
        and_(
            account_identifiers.c.kind == "RPPS",
            exists(
                select(mailbox_holders.c.rpps)
                .where(
                    mailbox_holders.c.mailbox_id == mailboxes.c.id,
                    mailbox_holders.c.rpps == account_identifiers.c.value,
                )
                .correlate(mailboxes, account_identifiers)
            ),
        ),
    )
    chosen = holder.c.state == "active" if account_id is None else holder.c.id == account_id
    return exists(
        select(account_identifiers.c.id)
        .correlate(mailboxes)
        .where(
            same,
            account_identifiers.c.ended_at.is_(None),
            account_identifiers.c.account_id == holder.c.id,
            holder.c.tenant_id
            == select(domains.c.tenant_id)
            .where(domains.c.id == mailboxes.c.domain_id)
            .correlate(mailboxes)
            .scalar_subquery(),
            chosen,
        )
    )


def _in_force(at: datetime) -> ColumnElement[bool]:
    return or_(grants.c.ends_at.is_(None), grants.c.ends_at > at)
