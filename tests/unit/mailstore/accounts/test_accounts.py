"""Accounts: adding, finding, pages, states."""

from datetime import timedelta

import pytest
from sqlalchemy import Connection, insert, select, text

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
from mailstore.accounts.identifiers import match
from mailstore.accounts.kinds import AccountKind, AccountState
from mailstore.accounts.person_identifiers import PersonIdentifier
from mailstore.accounts.tenants import add_tenant
from mailstore.db.database import Database
from mailstore.db.people_schema import OPERATOR_TENANT, account_identifiers, accounts
from mailstore.errors import Conflict, InvalidName, InvalidState, NotFound
from tests.support.clock import NOW
from tests.support.db.plans import explained
from tests.support.people.accounts import PSI, person, program

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


def test_finding_and_listing_read_their_rows_alone(database: Database) -> None:
    """100 000 accounts are listed in pages of the same cost, and found by login or identifier."""
    with database.write() as conn:
        many(conn, 2_000)
        with explained(conn) as plans:
            page = list_accounts(conn, after="account01500", limit=50)
            of_tenant = list_accounts(conn, tenant_id=OPERATOR_TENANT, after="account01500")
            assert get_account(conn, "account01999").login == "account01999"
            found = match(conn, OPERATOR_TENANT, [PSI, PersonIdentifier(PSI.kind, "psi-1234")])
        assert [one.login for one in page[:2]] == ["account01501", "account01502"]
        assert of_tenant[:50] == page
        assert found is not None
        assert found.login == "account01234"
    assert len(plans) == 5
    for plan in plans:
        # The second scan is of the tenants, of whom there are few.
        assert "SCAN account" not in plan, plan
        assert "Seq Scan on account" not in plan, plan
        assert "Sort" not in plan, plan
        assert "TEMP B-TREE" not in plan, plan


def many(conn: Connection, number: int) -> None:
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
            for number in range(number)
        ],
    )
    rows = conn.execute(select(accounts.c.id, accounts.c.login)).all()
    conn.execute(
        insert(account_identifiers),
        [
            {
                "account_id": row.id,
                "tenant_id": OPERATOR_TENANT,
                "kind": "PSI",
                "value": f"psi-{int(row.login.removeprefix('account'))}",
                "since": NOW,
            }
            for row in rows
        ],
    )
    if conn.dialect.name == "postgresql":  # which does so by itself, later
        conn.execute(text("ANALYZE"))
