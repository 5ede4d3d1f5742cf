"""All that the database keeps about a person (RGPD, articles 15 and 20), section by section.

Secrets are left out: they prove the person, and tell nothing about it. Content of mailboxes is
exported by its holder from the mailbox itself; the trace journal is read by `mssante trace`.
"""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select

from mailstore.accounts.accounts import Account
from mailstore.db.audit_schema import audit_rows
from mailstore.db.people_schema import (
    account_groups,
    account_identifiers,
    accounts,
    break_glass,
    credentials,
    grants,
    group_members,
    inactivity,
    roles,
    tenants,
)
from mailstore.db.schema import domains, mailbox_holders, mailboxes

_AT_ONCE: Final = 500
# Verifiers, and the seals of audit rows, which tell nothing about a person.
_LEFT_OUT: Final = frozenset({"verifier", "lookup", "last_step", "digest", "seal"})

Section = tuple[str, Iterator[dict[str, Any]]]


def export_account(conn: Connection, account: Account) -> Iterator[Section]:
    """Sections with their rows: column names and values. Rows are read as they are asked for.

    The audit trail is read in whole where it has no index for the person: minutes for many millions
    of rows.
    """
    me = account.id
    held = _held_mailboxes(account)
    addresses = list(conn.scalars(held.with_only_columns(mailboxes.c.address)))
    yield (
        "account",
        _rows(
            conn,
            select(accounts, tenants.c.name.label("tenant"))
            .join_from(accounts, tenants)
            .where(accounts.c.id == me),
        ),
    )
    for name, query in (
        ("identifiers", select(account_identifiers).where(account_identifiers.c.account_id == me)),
        (
            "groups",
            select(account_groups.c.name, group_members.c.since)
            .join_from(group_members, account_groups)
            .where(group_members.c.account_id == me),
        ),
        ("credentials", _with_mailbox(credentials, credentials.c.account_id == me)),
        ("grants", _with_mailbox(grants, grants.c.account_id == me)),
        ("roles", select(roles).where(roles.c.account_id == me)),
        ("break_glass", _with_mailbox(break_glass, _accesses(me, addresses))),
        ("mailboxes", held),
        ("unused_mailboxes", _with_mailbox(inactivity, mailboxes.c.address.in_(addresses))),
        ("audit", _audit(account, addresses)),
    ):
        yield name, _rows(conn, query)


def _accesses(me: int, addresses: list[str]) -> ColumnElement[bool]:
    """Accesses by the person, and to mailboxes of the person."""
    return or_(break_glass.c.account_id == me, mailboxes.c.address.in_(addresses))


def _audit(account: Account, addresses: list[str]) -> Select[Any]:
    """Acts of the person, on the account, and on mailboxes of the person, oldest first."""
    concerned = or_(
        audit_rows.c.account == account.login,
        audit_rows.c.subject == account.login,
        audit_rows.c.mailbox.in_(addresses),
    )
    return select(audit_rows).where(concerned).order_by(audit_rows.c.at)


def _held_mailboxes(account: Account) -> Select[Any]:
    """PER and CAB mailboxes of the tenant that an identifier of the person holds or held."""
    mine = select(account_identifiers).where(account_identifiers.c.account_id == account.id)
    values = mine.with_only_columns(account_identifiers.c.value)
    named = and_(
        mailboxes.c.type.in_(["PER", "CAB"]),
        mailboxes.c.identifier_value.in_(values),
        mailboxes.c.identifier_kind.in_(["RPPS", "ADELI"]),
    )
    together = mailboxes.c.id.in_(
        select(mailbox_holders.c.mailbox_id).where(mailbox_holders.c.rpps.in_(values))
    )
    return (
        select(mailboxes)
        .join_from(mailboxes, domains)
        .where(domains.c.tenant_id == account.tenant_id, or_(named, together))
    )


def _with_mailbox(table: Any, which: ColumnElement[bool]) -> Select[Any]:
    address = mailboxes.c.address.label("mailbox")
    return select(table, address).join_from(table, mailboxes, isouter=True).where(which)


def _rows(conn: Connection, query: Select[Any]) -> Iterator[dict[str, Any]]:
    kept = [one for one in query.selected_columns if one.name not in _LEFT_OUT]
    found = conn.execution_options(yield_per=_AT_ONCE).execute(query.with_only_columns(*kept))
    for row in found.mappings():
        yield dict(row)
