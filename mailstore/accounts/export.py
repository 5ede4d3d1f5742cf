"""All that the database keeps about a person (RGPD, articles 15 and 20), section by section.

Secrets are left out: they prove the person, and tell nothing about it. Content of mailboxes is
exported by its holder from the mailbox itself; the trace journal is read by `mssante trace`.
"""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, false, or_, select

from mailstore.accounts.accounts import Account
from mailstore.accounts.kinds import AccountState
from mailstore.audit.canonical import writable
from mailstore.db.audit_schema import audit_rows
from mailstore.db.folder_schema import seen_by_person
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
from mailstore.db.schema import aliases, domains, mailbox_holders, mailboxes, sent_counts
from mailstore.db.team_schema import (
    message_answers,
    message_assignments,
    message_notes,
    message_work,
)

_AT_ONCE: Final = 500
# Verifiers, the seals of audit rows and numbers of changes tell nothing about a person. Texts of
# notes are about patients, and content of the mailbox.
_LEFT_OUT: Final = frozenset(
    {"verifier", "lookup", "last_step", "digest", "seal", "modseq", "text"}
)
# Acts of the person on messages of mailboxes, whoever holds them.
_TEAM_WORK: Final = (
    ("assignments", message_assignments),
    ("notes", message_notes),
    ("work", message_work),
    ("answers", message_answers),
    ("seen", seen_by_person),
)

Section = tuple[str, Iterator[dict[str, Any]]]


def export_account(conn: Connection, account: Account) -> Iterator[Section]:
    """Sections with their rows: column names and values. Rows are read as they are asked for.

    The audit trail is read in whole where it has no index for the person: minutes for many millions
    of rows.
    """
    me, numbers = account.id, _identifiers(conn, account)
    held = _held_mailboxes(account, numbers)
    found = conn.execute(
        held.with_only_columns(mailboxes.c.id, mailboxes.c.address, mailboxes.c.type)
    )
    mine = [(row.id, row.address, row.type) for row in found]
    ids = [number for number, _, _ in mine]
    own = [(number, address) for number, address, kind in mine if kind == "PER"]
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
        ("break_glass", _with_mailbox(break_glass, _accesses(account, ids))),
        ("mailboxes", held),
        ("unused_mailboxes", _with_mailbox(inactivity, mailboxes.c.id.in_(ids))),
        ("holder_of", _with_mailbox(mailbox_holders, _co_holder(ids, numbers))),
        ("aliases", select(aliases).where(aliases.c.mailbox_id.in_(ids))),
        ("sent", _with_mailbox(sent_counts, sent_counts.c.mailbox_id.in_([n for n, _ in own]))),
        *((name, _with_mailbox(table, table.c.account_id == me)) for name, table in _TEAM_WORK),
        ("audit", _audit(account, [address for _, address in own])),
    ):
        yield name, _rows(conn, query)


def _identifiers(conn: Connection, account: Account) -> list[tuple[str, str]]:
    """Kinds and values of the identifiers that are the person's.

    One that ended before the closing was mistyped or replaced, and may be somebody else's.
    """
    row, closed = account_identifiers.c, account.state is AccountState.CLOSED
    mine = row.ended_at == account.state_since if closed else row.ended_at.is_(None)
    query = select(row.kind, row.value).where(row.account_id == account.id, mine)
    return [(one.kind, one.value) for one in conn.execute(query)]


def _rpps(numbers: list[tuple[str, str]]) -> list[str]:
    return [value for kind, value in numbers if kind == "RPPS"]


def _co_holder(ids: list[int], numbers: list[tuple[str, str]]) -> ColumnElement[bool]:
    return and_(mailbox_holders.c.mailbox_id.in_(ids), mailbox_holders.c.rpps.in_(_rpps(numbers)))


def _accesses(account: Account, ids: list[int]) -> ColumnElement[bool]:
    """Accesses by the person, agreed to by the person, and to mailboxes of the person."""
    return or_(
        break_glass.c.account_id == account.id,
        break_glass.c.second == account.login,
        break_glass.c.mailbox_id.in_(ids),
    )


def _audit(account: Account, addresses: list[str]) -> Select[Any]:
    """Acts of the person, on the account, and on the person's own mailboxes, oldest first.

    Acts of others on a mailbox that is shared (CAB, ORG) are theirs.
    """
    login = writable(account.login)
    concerned = or_(
        audit_rows.c.account == login,
        audit_rows.c.subject == login,
        audit_rows.c.mailbox.in_([writable(address) for address in addresses]),
    )
    return select(audit_rows).where(concerned).order_by(audit_rows.c.at)


def _held_mailboxes(account: Account, numbers: list[tuple[str, str]]) -> Select[Any]:
    """Mailboxes of the tenant that hang on an identifier of the person, whatever their type."""
    named = (
        and_(mailboxes.c.identifier_kind == kind, mailboxes.c.identifier_value == value)
        for kind, value in numbers
    )
    together = mailboxes.c.id.in_(
        select(mailbox_holders.c.mailbox_id).where(mailbox_holders.c.rpps.in_(_rpps(numbers)))
    )
    return (
        select(mailboxes)
        .join_from(mailboxes, domains)
        .where(domains.c.tenant_id == account.tenant_id, or_(false(), *named, together))
        .order_by(mailboxes.c.id)
    )


def _with_mailbox(table: Any, which: ColumnElement[bool]) -> Select[Any]:
    address = mailboxes.c.address.label("mailbox")
    mine = mailboxes.c.id == table.c.mailbox_id
    return select(table, address).join_from(table, mailboxes, mine, isouter=True).where(which)


def _rows(conn: Connection, query: Select[Any]) -> Iterator[dict[str, Any]]:
    kept = [one for one in query.selected_columns if one.name not in _LEFT_OUT]
    options = {"yield_per": _AT_ONCE}  # for this query alone, not for the connection
    found = conn.execute(query.with_only_columns(*kept), execution_options=options)
    for row in found.mappings():
        yield dict(row)
