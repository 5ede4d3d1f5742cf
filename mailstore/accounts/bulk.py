"""Many accounts at once, from a table: each line is checked, and all are added, or none.

`read_lines` is pure. `check_lines` and `add_lines` take a connection in a transaction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from mailstore.accounts.kinds import AccountKind, AccountState
from mailstore.accounts.names import parse_login, parse_name, tenant_key
from mailstore.accounts.person_identifiers import PersonIdentifier, PersonIdentifierKind
from mailstore.db.people_schema import (
    account_groups,
    account_identifiers,
    accounts,
    group_members,
    tenants,
)
from mailstore.errors import Conflict, InvalidIdentifier, InvalidName
from mailstore.mailbox_import.csv_form import CsvLine
from mailstore.mailboxes.identifiers import LUHN_KINDS, IdentifierKind

REQUIRED: Final = ("login", "family_name")
COLUMNS: Final = (*REQUIRED, "given_name", "tenant", "kind", "rpps", "adeli", "psi", "groups")
_AT_ONCE: Final = 500  # values of a query
_BETWEEN_GROUPS: Final = "|"


@dataclass(frozen=True, slots=True)
class AccountLine:
    """A line of the table: an account to add, or what is wrong with it."""

    line: int
    login: str
    tenant: str = ""
    kind: AccountKind = AccountKind.PERSON
    family_name: str = ""
    given_name: str = ""
    identifiers: tuple[PersonIdentifier, ...] = ()
    groups: tuple[str, ...] = ()
    fault: str | None = None
    tenant_id: int = field(default=0, compare=False)


def read_lines(
    rows: Iterable[CsvLine],
    default_tenant: str,
    *,
    luhn: frozenset[IdentifierKind] = LUHN_KINDS,
) -> list[AccountLine]:
    """Check each line by itself, and against the lines before it."""
    seen: dict[object, int] = {}
    return [_once(_read(row, default_tenant, luhn), seen) for row in rows]


def check_lines(conn: Connection, lines: Sequence[AccountLine]) -> list[AccountLine]:
    """Check the lines against what is there: tenants, log-in names, identifiers, groups."""
    known = {row.name: row.id for row in conn.execute(select(tenants.c.name, tenants.c.id))}
    taken = _taken_logins(conn, lines)
    placed = [replace(one, tenant_id=known.get(one.tenant, 0)) for one in lines]
    held = _held_identifiers(conn, placed)
    groups = set(_group_ids(conn))
    return [
        one if one.fault else replace(one, fault=_fault(one, taken, held, groups)) for one in placed
    ]


def add_lines(conn: Connection, lines: Sequence[AccountLine], now: datetime) -> None:
    """Add the accounts of lines that `check_lines` of this transaction found good.

    Raises Conflict if another process was faster with one of them.
    """
    try:
        _insert(conn, lines, now)
    except IntegrityError as error:
        raise Conflict(
            "another process added one of these accounts meanwhile; try again"
        ) from error


def _insert(conn: Connection, lines: Sequence[AccountLine], now: datetime) -> None:
    if not lines:
        return
    added = conn.execute(
        insert(accounts).returning(accounts.c.login, accounts.c.id),
        [
            {
                "tenant_id": one.tenant_id,
                "login": one.login,
                "kind": one.kind.value,
                "family_name": one.family_name,
                "given_name": one.given_name,
                "state": AccountState.ACTIVE.value,
                "state_since": now,
                "created_at": now,
            }
            for one in lines
        ],
    )
    ids = {row.login: row.id for row in added}
    identifiers = [
        {
            "account_id": ids[one.login],
            "tenant_id": one.tenant_id,
            "kind": identifier.kind.value,
            "value": identifier.value,
            "since": now,
        }
        for one in lines
        for identifier in one.identifiers
    ]
    if identifiers:
        conn.execute(insert(account_identifiers), identifiers)
    groups = _group_ids(conn)
    members = [
        {
            "group_id": groups[one.tenant_id, name],
            "account_id": ids[one.login],
            "since": now,
        }
        for one in lines
        for name in one.groups
    ]
    if members:
        conn.execute(insert(group_members), members)


def _read(row: CsvLine, default_tenant: str, luhn: frozenset[IdentifierKind]) -> AccountLine:
    login = row.cells.get("login", "")
    if row.problem:
        return AccountLine(row.number, login, fault=row.problem)
    try:
        return _parse(row, default_tenant, luhn)
    except (InvalidName, InvalidIdentifier) as error:
        return AccountLine(row.number, login, fault=str(error))


def _parse(row: CsvLine, default_tenant: str, luhn: frozenset[IdentifierKind]) -> AccountLine:
    given = row.cells
    kind = given.get("kind") or AccountKind.PERSON.value
    if kind not in set(AccountKind):
        raise InvalidName(f"{kind!r} is no kind: person or software")
    identifiers = tuple(
        PersonIdentifier.parse(one, given[one.lower()], luhn=luhn)
        for one in PersonIdentifierKind
        if given.get(one.lower())
    )
    if identifiers and kind == AccountKind.SOFTWARE:
        raise InvalidIdentifier("a program has no national identifier")
    names = (
        parse_name(one, "group") for one in given.get("groups", "").split(_BETWEEN_GROUPS) if one
    )
    return AccountLine(
        line=row.number,
        login=parse_login(given["login"]),
        tenant=tenant_key(given.get("tenant") or default_tenant),
        kind=AccountKind(kind),
        family_name=parse_name(given["family_name"], "family name"),
        given_name=parse_name(given.get("given_name", ""), "given name", empty=True),
        identifiers=identifiers,
        groups=tuple(dict.fromkeys(names)),
    )


def _once(line: AccountLine, seen: dict[object, int]) -> AccountLine:
    """The line, with a fault if an earlier one has its log-in name or an identifier of it."""
    if line.fault:
        return line
    for key, text in (
        (line.login, line.login),
        *(((line.tenant, one), str(one)) for one in line.identifiers),
    ):
        before = seen.setdefault(key, line.line)
        if before != line.line:
            return replace(line, fault=f"line {before} has {text} too")
    return line


def _fault(
    one: AccountLine,
    taken: set[str],
    held: dict[tuple[int, PersonIdentifier], str],
    groups: set[tuple[int, str]],
) -> str | None:
    if not one.tenant_id:
        return f"there is no tenant {one.tenant}"
    if one.login in taken:
        return f"the log-in name {one.login} is taken"
    for identifier in one.identifiers:
        holder = held.get((one.tenant_id, identifier))
        if holder is not None:
            return f"{identifier} belongs to the account {holder}"
    for name in one.groups:
        if (one.tenant_id, name) not in groups:
            return f"there is no group {name} in the tenant {one.tenant}"
    return None


def _taken_logins(conn: Connection, lines: Sequence[AccountLine]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(lines), _AT_ONCE):
        part = {one.login for one in lines[start : start + _AT_ONCE] if not one.fault}
        found.update(conn.scalars(select(accounts.c.login).where(accounts.c.login.in_(part))))
    return found


def _held_identifiers(
    conn: Connection, lines: Sequence[AccountLine]
) -> dict[tuple[int, PersonIdentifier], str]:
    """Log-in names by tenant and identifier, of those that the lines name."""
    columns = account_identifiers.c
    wanted = sorted({i.value for one in lines for i in one.identifiers})
    found = {}
    for start in range(0, len(wanted), _AT_ONCE):
        query = (
            select(columns.tenant_id, columns.kind, columns.value, accounts.c.login)
            .join_from(account_identifiers, accounts, columns.account_id == accounts.c.id)
            .where(
                columns.kind.in_([one.value for one in PersonIdentifierKind]),
                columns.value.in_(wanted[start : start + _AT_ONCE]),
                columns.ended_at.is_(None),
            )
        )
        for row in conn.execute(query):
            identifier = PersonIdentifier(PersonIdentifierKind(row.kind), row.value)
            found[row.tenant_id, identifier] = row.login
    return found


def _group_ids(conn: Connection) -> dict[tuple[int, str], int]:
    columns = account_groups.c
    query = select(columns.tenant_id, columns.name, columns.id).where(columns.ended_at.is_(None))
    return {(row.tenant_id, row.name): row.id for row in conn.execute(query)}
