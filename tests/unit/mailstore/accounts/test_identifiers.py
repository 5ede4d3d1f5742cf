"""Finding accounts by national identifiers, of which one may be replaced (DOMAIN §U3)."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from mailstore.accounts.closing import close_account
from mailstore.accounts.identifiers import (
    AmbiguousPerson,
    HeldIdentifier,
    add_identifier,
    end_identifier,
    list_identifiers,
    live_identifiers,
    match,
    replace_identifier,
)
from mailstore.accounts.person_identifiers import PersonIdentifier, PersonIdentifierKind
from mailstore.accounts.tenants import add_tenant
from mailstore.db.database import Database
from mailstore.db.people_schema import OPERATOR_TENANT
from mailstore.errors import Conflict, InvalidIdentifier, MailstoreError, NotFound
from tests.support.clock import NOW
from tests.support.people.accounts import OTHER_RPPS, PSI, RPPS, person, program

LATER = NOW + timedelta(days=1)


def test_any_identifier_finds_the_person_u3(database: Database) -> None:
    """DOMAIN §U3: the primary identifier changes to a PSI, the RPPS moves among the others."""
    with database.write() as conn:
        claire = person(conn, "claire")
        add_identifier(conn, "claire", RPPS, now=NOW)
        assert match(conn, OPERATOR_TENANT, [PSI, RPPS]) == claire
        add_identifier(conn, "claire", PSI, now=LATER)
        add_identifier(conn, "claire", PSI, now=LATER)
        assert match(conn, OPERATOR_TENANT, [PSI]) == claire
        assert match(conn, OPERATOR_TENANT, [OTHER_RPPS, RPPS]) == claire
        assert match(conn, OPERATOR_TENANT, [OTHER_RPPS]) is None
        assert match(conn, OPERATOR_TENANT, []) is None
        assert list_identifiers(conn, claire.id) == [
            HeldIdentifier(RPPS, NOW, None),
            HeldIdentifier(PSI, LATER, None),
        ]


def test_a_replaced_identifier_identifies_no_more(database: Database) -> None:
    with database.write() as conn:
        claire = person(conn, "claire")
        add_identifier(conn, "claire", RPPS, now=NOW)
        replace_identifier(conn, "claire", RPPS, OTHER_RPPS, now=LATER)
        assert match(conn, OPERATOR_TENANT, [RPPS]) is None
        assert match(conn, OPERATOR_TENANT, [OTHER_RPPS, RPPS]) == claire
        assert live_identifiers(conn, claire.id) == {OTHER_RPPS}
        # It was mistyped: the right account gets it.
        paul = person(conn, "paul")
        add_identifier(conn, "paul", RPPS, now=LATER)
        assert match(conn, OPERATOR_TENANT, [RPPS]) == paul
        with pytest.raises(NotFound, match="claire has not the identifier RPPS"):
            end_identifier(conn, "claire", RPPS, now=LATER)


def test_two_accounts_are_not_one_person(database: Database) -> None:
    with database.write() as conn:
        person(conn, "claire")
        person(conn, "paul")
        add_identifier(conn, "claire", RPPS, now=NOW)
        add_identifier(conn, "paul", PSI, now=NOW)
        with pytest.raises(AmbiguousPerson, match="claire and paul"):
            match(conn, OPERATOR_TENANT, [PSI, RPPS])
        with pytest.raises(Conflict, match="belongs to the account claire of the tenant operator"):
            add_identifier(conn, "paul", RPPS, now=NOW)


def test_tenants_do_not_see_each_other_s_identifiers(database: Database) -> None:
    with database.write() as conn:
        chu = add_tenant(conn, "chu", now=NOW)
        here, there = person(conn, "claire"), person(conn, "claire.chu", chu.id)
        add_identifier(conn, "claire", RPPS, now=NOW)
        assert match(conn, chu.id, [RPPS]) is None
        add_identifier(conn, "claire.chu", RPPS, now=NOW)
        assert match(conn, OPERATOR_TENANT, [RPPS]) == here
        assert match(conn, chu.id, [RPPS]) == there


def test_a_program_has_no_national_identifier(database: Database) -> None:
    with database.write() as conn:
        program(conn, "pfi")
        with pytest.raises(InvalidIdentifier, match="pfi is a program"):
            add_identifier(conn, "pfi", RPPS, now=NOW)


def test_who_comes_back_gets_a_new_account(database: Database) -> None:
    with database.write() as conn:
        person(conn, "claire")
        add_identifier(conn, "claire", RPPS, now=NOW)
        close_account(conn, "claire", "départ", now=NOW)
        assert match(conn, OPERATOR_TENANT, [RPPS]) is None
        again = person(conn, "claire.martin")
        add_identifier(conn, "claire.martin", RPPS, now=LATER)
        assert match(conn, OPERATOR_TENANT, [RPPS]) == again


IDENTIFIERS = [PersonIdentifier(PersonIdentifierKind.PSI, f"psi-{n}") for n in range(4)]
LOGINS = ["a", "b", "c"]
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["add", "end", "close"]),
        st.sampled_from(LOGINS),
        st.sampled_from(IDENTIFIERS),
    ),
    max_size=12,
)


class _Undo(Exception):
    """Ends the transaction of an example."""


@contextmanager
def undone(database: Database) -> Iterator[Connection]:
    """A transaction that is rolled back, with a connection to it."""
    with suppress(_Undo), database.write() as conn:
        yield conn
        raise _Undo


class Model:
    """Holders of the identifiers now."""

    def __init__(self) -> None:
        self.held: dict[PersonIdentifier, str] = {}
        self.closed: set[str] = set()

    def act(self, act: str, login: str, identifier: PersonIdentifier) -> bool:
        """Do the act; False if it is refused."""
        if login in self.closed:
            return False
        if act == "add":
            return self.held.setdefault(identifier, login) == login
        if act == "end":
            return self.held.get(identifier) == login and bool(self.held.pop(identifier))
        self.closed.add(login)
        self.held = {one: who for one, who in self.held.items() if who != login}
        return True


def really(conn: Connection, act: str, login: str, identifier: PersonIdentifier) -> bool:
    try:
        if act == "add":
            add_identifier(conn, login, identifier, now=NOW)
        elif act == "end":
            end_identifier(conn, login, identifier, now=NOW)
        else:
            close_account(conn, login, "x", now=NOW)
    except MailstoreError:
        return False
    return True


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(acts=ACTS, stated=st.sets(st.sampled_from(IDENTIFIERS)))
def test_matching_follows_each_history(
    database: Database, acts: list[tuple[str, str, PersonIdentifier]], stated: set[PersonIdentifier]
) -> None:
    """DOMAIN §U3, compared with a model: any identifier held now, and no other, identifies."""
    model = Model()
    with undone(database) as conn:
        for login in LOGINS:
            person(conn, login)
        for one in acts:
            assert really(conn, *one) == model.act(*one)
        found = {model.held[one] for one in stated if one in model.held}
        if len(found) > 1:
            with pytest.raises(AmbiguousPerson):
                match(conn, OPERATOR_TENANT, stated)
        else:
            account = match(conn, OPERATOR_TENANT, stated)
            assert (None if account is None else account.login) == next(iter(found), None)
