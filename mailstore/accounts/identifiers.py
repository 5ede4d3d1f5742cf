"""National identifiers of accounts: adding, ending, replacing; finding an account by any of them.

Within a tenant, an identifier that has not ended belongs to one account (DOMAIN §U3). Functions
take a connection in a transaction; functions that write need `Database.write()`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, tuple_, update

from mailstore.accounts.accounts import (
    Account,
    get_account_by_id,
    lock_account,
)
from mailstore.accounts.changes import note_ending
from mailstore.accounts.kinds import AccountKind
from mailstore.accounts.person_identifiers import PersonIdentifier, PersonIdentifierKind
from mailstore.db.dialect import insert_or_ignore
from mailstore.db.people_schema import account_identifiers, accounts
from mailstore.errors import Conflict, InvalidIdentifier, NotFound


class AmbiguousPerson(InvalidIdentifier):
    """Identifiers stated as one person's belong to different accounts here."""


@dataclass(frozen=True, slots=True)
class HeldIdentifier:
    """An identifier of an account; `ended_at` is None while it identifies."""

    identifier: PersonIdentifier
    since: datetime
    ended_at: datetime | None


def add_identifier(
    conn: Connection, login: str, identifier: PersonIdentifier, *, now: datetime
) -> Account:
    """Give an account one more identifier. No error if it has it already.

    Raises NotFound; InvalidState for a closed account; InvalidIdentifier for a program; Conflict
    for an identifier of another account of the tenant.
    """
    account = lock_account(conn, login)
    if account.kind is not AccountKind.PERSON:
        raise InvalidIdentifier(
            f"{account.login} is a program: {identifier} is a person's; give its mailbox to it by "
            "a grant"
        )
    added = conn.scalar(
        insert_or_ignore(conn, account_identifiers)
        .values(
            account_id=account.id,
            tenant_id=account.tenant_id,
            kind=identifier.kind.value,
            value=identifier.value,
            since=now,
        )
        .returning(account_identifiers.c.id)
    )
    if added is None:
        holder = match(conn, account.tenant_id, [identifier])
        if holder is None or holder.id != account.id:
            other = "another account" if holder is None else f"the account {holder.login}"
            raise Conflict(f"{identifier} belongs to {other} of the tenant {account.tenant}")
    return account


def end_identifier(
    conn: Connection, login: str, identifier: PersonIdentifier, *, now: datetime
) -> Account:
    """End an identifier: it no longer identifies the account. Raises NotFound, InvalidState."""
    account = lock_account(conn, login)
    ended = conn.execute(
        update(account_identifiers)
        .where(
            account_identifiers.c.account_id == account.id,
            account_identifiers.c.kind == identifier.kind.value,
            account_identifiers.c.value == identifier.value,
            account_identifiers.c.ended_at.is_(None),
        )
        .values(ended_at=now)
    )
    if not ended.rowcount:
        raise NotFound(f"the account {account.login} has not the identifier {identifier}")
    note_ending(conn)
    return account


def replace_identifier(
    conn: Connection,
    login: str,
    before: PersonIdentifier,
    after: PersonIdentifier,
    *,
    now: datetime,
) -> Account:
    """End an identifier and add its successor. Raises as `end_identifier` and `add_identifier`."""
    end_identifier(conn, login, before, now=now)
    return add_identifier(conn, login, after, now=now)


def list_identifiers(conn: Connection, account_id: int) -> list[HeldIdentifier]:
    """All identifiers of an account, ended ones too, oldest first."""
    rows = conn.execute(
        select(account_identifiers)
        .where(account_identifiers.c.account_id == account_id)
        .order_by(account_identifiers.c.id)
    )
    return [
        HeldIdentifier(
            PersonIdentifier(PersonIdentifierKind(row.kind), row.value), row.since, row.ended_at
        )
        for row in rows
    ]


def live_identifiers(conn: Connection, account_id: int) -> frozenset[PersonIdentifier]:
    """The identifiers by which the account is identified now."""
    return frozenset(
        held.identifier for held in list_identifiers(conn, account_id) if held.ended_at is None
    )


def match(
    conn: Connection, tenant_id: int, identifiers: Iterable[PersonIdentifier]
) -> Account | None:
    """The tenant's account that has any of the identifiers of one person; None without one.

    An account in any state: the caller asks whether it may log in. Raises AmbiguousPerson if they
    belong to several accounts.
    """
    wanted = {(one.kind.value, one.value) for one in identifiers}
    if not wanted:
        return None
    found = conn.execute(
        select(accounts.c.id, accounts.c.login)
        .distinct()
        .join(account_identifiers, account_identifiers.c.account_id == accounts.c.id)
        .where(
            account_identifiers.c.tenant_id == tenant_id,
            account_identifiers.c.ended_at.is_(None),
            tuple_(account_identifiers.c.kind, account_identifiers.c.value).in_(wanted),
        )
        .order_by(accounts.c.login)
        .limit(2)
    ).all()
    if len(found) > 1:
        logins = " and ".join(row.login for row in found)
        raise AmbiguousPerson(
            f"identifiers of one person belong to the accounts {logins}: end those of one of them"
        )
    return get_account_by_id(conn, found[0].id) if found else None
