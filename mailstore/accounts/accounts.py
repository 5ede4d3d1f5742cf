"""Accounts of persons and programs: adding, finding, listing in pages, suspending.

A log-in name is never given to another account, and rows are never deleted, so that the audit trail
stays readable. Closing is in `mailstore.accounts.closing`. Functions take a connection in a
transaction; functions that write need `Database.write()`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, bindparam, select, update

from mailstore.accounts.changes import note_ending
from mailstore.accounts.endings import AccountEnded
from mailstore.accounts.kinds import AccountKind, AccountState
from mailstore.accounts.names import login_key, page_key, parse_login, parse_name
from mailstore.db.dialect import insert_or_ignore
from mailstore.db.people_schema import accounts, tenants
from mailstore.errors import Conflict, InvalidState, NotFound
from mailstore.scope.conditions import tenant_within
from mailstore.scope.model import WHOLE, Scope

MOST_LISTED: Final = 1_000  # rows of a page


@dataclass(frozen=True, slots=True)
class Account:
    """An account. A program has its name in `family_name`."""

    id: int
    tenant_id: int
    tenant: str
    login: str
    kind: AccountKind
    family_name: str
    given_name: str
    state: AccountState
    state_since: datetime
    state_reason: str | None
    created_at: datetime
    last_login_at: datetime | None

    @property
    def name(self) -> str:
        """Name for people."""
        return f"{self.given_name} {self.family_name}".strip()


def add_account(
    conn: Connection,
    tenant_id: int,
    login: str,
    kind: AccountKind,
    *,
    family_name: str,
    given_name: str = "",
    now: datetime,
) -> Account:
    """Add an account, active at once; it may do nothing before it has grants and credentials.

    Raises InvalidName; Conflict for a log-in name that any account has or had.
    """
    parsed = parse_login(login)
    of_program = kind is AccountKind.SOFTWARE
    family = parse_name(family_name, "name of the program" if of_program else "family name")
    given = parse_name(given_name, "given name", empty=True)
    added = conn.scalar(
        insert_or_ignore(conn, accounts)
        .values(
            tenant_id=tenant_id,
            login=parsed,
            kind=kind.value,
            family_name=family,
            given_name=given,
            state=AccountState.ACTIVE.value,
            state_since=now,
            created_at=now,
        )
        .returning(accounts.c.id)
    )
    if added is None:
        raise Conflict(
            f"the log-in name {parsed} is taken; it stays its account's even when that is closed"
        )
    return get_account_by_id(conn, added)


def get_account(conn: Connection, login: str) -> Account:
    """Find an account in any state, by its log-in name in any letter case. Raises NotFound."""
    found = find_account(conn, login)
    if found is None:
        raise NotFound(f"there is no account {login}")
    return found


def find_account(conn: Connection, login: str) -> Account | None:
    """Find an account in any state; None without one, also for a malformed log-in name."""
    row = conn.execute(_BY_LOGIN, {"login": login_key(login)}).one_or_none()
    return None if row is None else _account(row)


def get_account_by_id(conn: Connection, account_id: int) -> Account:
    """Find an account in any state by its number. Raises NotFound."""
    row = conn.execute(_BY_ID, {"id": account_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no account of number {account_id}")
    return _account(row)


def accounts_by_id(conn: Connection, ids: Iterable[int]) -> dict[int, Account]:
    """Find accounts in any state by number; missing numbers are absent."""
    wanted = _accounts().where(accounts.c.id.in_(set(ids)))
    return {row.id: _account(row) for row in conn.execute(wanted)}


def list_accounts(
    conn: Connection,
    *,
    tenant_id: int | None = None,
    state: AccountState | None = None,
    scope: Scope = WHOLE,
    after: str = "",
    limit: int = 100,
) -> list[Account]:
    """A page of accounts within a scope by log-in name, of one tenant or all; at most MOST_LISTED.

    The page starts behind the log-in name `after`; its cost does not depend on the number of
    accounts before it.
    """
    query = _accounts().where(accounts.c.login > page_key(after)).order_by(accounts.c.login)
    if tenant_id is not None:
        query = query.where(accounts.c.tenant_id == tenant_id)
    if state is not None:
        query = query.where(accounts.c.state == state.value)
    query = query.where(*tenant_within(scope, accounts.c.tenant_id))
    return [_account(row) for row in conn.execute(query.limit(min(limit, MOST_LISTED)))]


def suspend_account(
    conn: Connection, login: str, reason: str, *, now: datetime
) -> tuple[Account, list[AccountEnded]]:
    """Refuse each log-in until resumed; its grants and credentials stay.

    Raises NotFound; InvalidName for an empty reason; InvalidState for a closed account.
    """
    account = _set_state(conn, login, AccountState.SUSPENDED, parse_name(reason, "reason"), now)
    return account, [AccountEnded(account=account.id, at=now, closed=False)]


def resume_account(conn: Connection, login: str, *, now: datetime) -> Account:
    """Let a suspended account log in again; a wait after wrong passwords ends too.

    Raises NotFound, InvalidState for a closed account.
    """
    account = _set_state(conn, login, AccountState.ACTIVE, None, now)
    calm = {"failed_logins": 0, "failed_at": None}
    conn.execute(update(accounts).where(accounts.c.id == account.id).values(calm))
    return account


def rename_account(
    conn: Connection,
    login: str,
    *,
    family_name: str | None = None,
    given_name: str | None = None,
) -> Account:
    """Change the names of a person or a program; the log-in name stays.

    Raises NotFound, InvalidName.
    """
    account = get_account(conn, login)
    family = account.family_name if family_name is None else parse_name(family_name, "family name")
    given = account.given_name
    if given_name is not None:
        given = parse_name(given_name, "given name", empty=True)
    conn.execute(
        update(accounts)
        .where(accounts.c.id == account.id)
        .values(family_name=family, given_name=given)
    )
    return get_account_by_id(conn, account.id)


def lock_account(conn: Connection, login: str) -> Account:
    """Find an account that is not closed, and lock its row until the transaction ends.

    For changes that must not cross a closing of the account. Raises NotFound, InvalidState.
    """
    account = get_account(conn, login)
    lock_live_account(conn, account.id, account.login)
    return get_account_by_id(conn, account.id)


def lock_live_account(conn: Connection, account_id: int, name: str) -> None:
    """Lock an account's row until the transaction ends. Raises InvalidState for a closed one."""
    row = select(accounts.c.state).where(accounts.c.id == account_id)
    if conn.scalar(row.with_for_update()) == AccountState.CLOSED:
        raise InvalidState(f"the account {name} is closed, which is final")


def _set_state(
    conn: Connection, login: str, state: AccountState, reason: str | None, now: datetime
) -> Account:
    account = lock_account(conn, login)
    if account.state is not state:
        conn.execute(
            update(accounts)
            .where(accounts.c.id == account.id)
            .values(state=state.value, state_since=now, state_reason=reason)
        )
        note_ending(conn)
    return get_account_by_id(conn, account.id)


def _accounts() -> Select[Any]:
    return select(accounts, tenants.c.name.label("tenant")).join_from(accounts, tenants)


# Built once: SQLAlchemy's preparation of a statement takes longer than its execution.
_BY_LOGIN: Final = _accounts().where(accounts.c.login == bindparam("login"))
_BY_ID: Final = _accounts().where(accounts.c.id == bindparam("id"))


def _account(row: Row[Any]) -> Account:
    return Account(
        id=row.id,
        tenant_id=row.tenant_id,
        tenant=row.tenant,
        login=row.login,
        kind=AccountKind(row.kind),
        family_name=row.family_name,
        given_name=row.given_name,
        state=AccountState(row.state),
        state_since=row.state_since,
        state_reason=row.state_reason,
        created_at=row.created_at,
        last_login_at=row.last_login_at,
    )
