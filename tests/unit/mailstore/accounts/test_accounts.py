"""Accounts: adding, finding, pages, states."""

from datetime import timedelta

import pytest
from sqlalchemy import event, insert, text

from mailstore.accounts.accounts import (
    accounts_by_id,
    add_account,
    find_account,
    get_account,
    get_account_by_id,
    list_accounts,
    rename_account,
    resume_account,
    suspend_account,
)
from mailstore.accounts.changes import access_number
from mailstore.accounts.closing import close_account
from mailstore.accounts.endings import AccountEnded
from mailstore.accounts.kinds import AccountKind, AccountState
from mailstore.accounts.tenants import add_tenant
from mailstore.db.database import Database
from mailstore.db.people_schema import OPERATOR_TENANT, accounts
from mailstore.errors import Conflict, InvalidName, InvalidState, NotFound
from tests.support.clock import NOW
from tests.support.people import person, program

LATER = NOW + timedelta(hours=1)


def test_an_account_is_what_was_given(database: Database) -> None:
    with database.write() as conn:
        claire = add_account(
            conn,
            OPERATOR_TENANT,
            "Claire.Martin",
            AccountKind.PERSON,
            family_name="Martin",
            given_name="Claire",
            now=NOW,
        )
        pfi = program(conn, "pfi")
        assert (claire.login, claire.name, claire.tenant) == (
            "claire.martin",
            "Claire Martin",
            "operator",
        )
        assert (claire.state, claire.created_at, claire.last_login_at) == ("active", NOW, None)
        assert (pfi.kind, pfi.name) == (AccountKind.SOFTWARE, "Pfi")
        assert get_account(conn, " CLAIRE.martin") == get_account_by_id(conn, claire.id) == claire
        assert accounts_by_id(conn, [pfi.id, claire.id, 99]) == {pfi.id: pfi, claire.id: claire}
        assert find_account(conn, "nobody") is find_account(conn, "\x01 é") is None
        with pytest.raises(NotFound, match="no account nobody"):
            get_account(conn, "nobody")
        with pytest.raises(NotFound, match="number 99"):
            get_account_by_id(conn, 99)


def test_a_login_name_is_never_given_again(database: Database) -> None:
    with database.write() as conn:
        person(conn, "claire")
        close_account(conn, "claire", "départ", now=NOW)
        other = add_tenant(conn, "chu", now=NOW)
        with pytest.raises(Conflict, match="claire is taken"):
            person(conn, "Claire", other.id)
        with pytest.raises(InvalidName):
            person(conn, "cl aire")


def test_names_change_and_the_login_name_stays(database: Database) -> None:
    with database.write() as conn:
        person(conn, "claire")
        renamed = rename_account(conn, "claire", family_name="Durand")
        assert (renamed.login, renamed.name) == ("claire", "Claire Durand")
        assert rename_account(conn, "claire", given_name="").name == "Durand"


def test_a_suspended_account_can_be_resumed(database: Database) -> None:
    with database.write() as conn:
        before = access_number(conn)
        claire = person(conn, "claire")
        suspended, endings = suspend_account(conn, "claire", "soupçon", now=LATER)
        assert (suspended.state, suspended.state_since, suspended.state_reason) == (
            AccountState.SUSPENDED,
            LATER,
            "soupçon",
        )
        assert endings == [AccountEnded(account=claire.id, at=LATER, closed=False)]
        noted = access_number(conn)
        assert noted != before
        resumed = resume_account(conn, "claire", now=LATER)
        assert (resumed.state, resumed.state_reason) == (AccountState.ACTIVE, None)
        with pytest.raises(InvalidName, match="the reason is empty"):
            suspend_account(conn, "claire", " ", now=LATER)
        close_account(conn, "claire", "départ", now=LATER)
        for change in (
            lambda: resume_account(conn, "claire", now=LATER),
            lambda: suspend_account(conn, "claire", "x", now=LATER),
            lambda: close_account(conn, "claire", "x", now=LATER),
        ):
            with pytest.raises(InvalidState, match="claire is closed, which is final"):
                change()


def test_pages_by_login_name(database: Database) -> None:
    with database.write() as conn:
        chu = add_tenant(conn, "chu", now=NOW)
        for login in ("d", "a", "c"):
            person(conn, login)
        for login in ("b", "e"):
            person(conn, login, chu.id)
        suspend_account(conn, "c", "x", now=NOW)

        def listed(**options: object) -> list[str]:
            return [one.login for one in list_accounts(conn, **options)]  # type: ignore[arg-type]

        assert listed() == ["a", "b", "c", "d", "e"]
        assert listed(limit=2) == ["a", "b"]
        assert listed(limit=2, after="B") == ["c", "d"]
        assert listed(tenant_id=chu.id, after="b") == ["e"]
        assert listed(state=AccountState.SUSPENDED) == ["c"]
        assert listed(after="e") == []


@pytest.mark.parametrize("tenant_id", [None, OPERATOR_TENANT])
def test_a_page_reads_its_rows_alone(database: Database, tenant_id: int | None) -> None:
    """The cost of a page does not depend on the number of accounts: the index gives its order."""
    seen: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    with database.write() as conn:
        conn.execute(
            insert(accounts),
            [
                {
                    "tenant_id": OPERATOR_TENANT,
                    "login": f"account{number:05}",
                    "kind": "person",
                    "family_name": "x",
                    "state": "active",
                    "state_since": NOW,
                    "created_at": NOW,
                }
                for number in range(2_000)
            ],
        )
        if conn.dialect.name == "postgresql":
            conn.execute(text("ANALYZE accounts"))
        event.listen(conn, "before_cursor_execute", note)
        page = list_accounts(conn, tenant_id=tenant_id, after="account01500", limit=50)
        event.remove(conn, "before_cursor_execute", note)
        assert [one.login for one in page[:2]] == ["account01501", "account01502"]
        plan = "\n".join(str(row) for row in conn.exec_driver_sql(*_explained(conn, seen[0])))
    assert "accounts_tenant_id_login" in plan or "uq_accounts_login" in plan or "login>?" in plan
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan


def _explained(conn: object, statement: str) -> tuple[str, object]:
    if conn.dialect.name == "sqlite":  # type: ignore[attr-defined]
        values = ("account01500", OPERATOR_TENANT, 50, 0)[: statement.count("?")]
        if statement.count("?") == 3:
            values = ("account01500", 50, 0)
        return f"EXPLAIN QUERY PLAN {statement}", values
    found = {"login_1": "account01500", "tenant_id_1": OPERATOR_TENANT, "param_1": 50}
    return f"EXPLAIN {statement}", found
