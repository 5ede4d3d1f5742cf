"""Scope of an administrator by names of domains, on both databases; see test_scope.py too."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import insert, update

from mailstore.credentials.proof import Method
from mailstore.db.database import Database
from mailstore.db.people_schema import roles
from mailstore.db.schema import domains
from mailstore.mailboxes.mailboxes import add_domain
from mailstore.rights.coverage import Coverage, domain_of, load_coverage
from mailstore.rights.facts import load_actor
from mailstore.rights.model import Action
from mailstore.rights.scope import scope_of
from tests.support.clock import NOW
from tests.support.people.house import House, build
from tests.support.people.proofs import shown

CHU, LAB = "chu.mssante.fr", "labo.chu.mssante.fr"
DAY = timedelta(days=1)


@pytest.fixture
def home(database: Database) -> House:
    with database.write() as conn:
        made = build(conn)
        add_domain(conn, LAB, now=NOW)
    return made


def give(
    database: Database, login: str, home: House, role: str, *, ends: bool = False, **where: object
) -> None:
    with database.write() as conn:
        if "domain" in where:
            name = where.pop("domain")
            where["domain_id"] = (
                conn.execute(domains.select().where(domains.c.name == name)).one().id
            )
        conn.execute(
            insert(roles).values(
                account_id=home.accounts[login],
                role=role,
                begins_at=NOW - DAY,
                ends_at=NOW if ends else None,
                given_by="test",
                **where,
            )
        )


def covered(database: Database, home: House, login: str, action: Action = Action.TRACE) -> Coverage:
    with database.read() as conn:
        actor = load_actor(conn, home.accounts[login], shown(Method.PASSWORD, 2))
        return load_coverage(conn, scope_of(actor, frozenset({action}), NOW))


def test_a_domain_a_tenant_and_the_whole(database: Database, home: House) -> None:
    give(database, "dr.martin", home, "helpdesk", domain=LAB)
    found = covered(database, home, "dr.martin")
    assert found == Coverage(1, domains=frozenset({LAB}))
    assert found.has(f'"x@{CHU}"@{LAB.upper()}')
    assert not found.has(f"x@{CHU}")
    give(database, "dr.martin", home, "auditor", tenant_id=1)
    found = covered(database, home, "dr.martin")
    assert found == Coverage(1, entire=True, domains=frozenset({CHU, LAB}))
    assert not found.has("cardio@clinique.mssante.fr")


def test_a_role_does_not_follow_a_domain_to_another_tenant(database: Database, home: House) -> None:
    give(database, "dr.martin", home, "helpdesk", domain=LAB)
    with database.write() as conn:
        moved = update(domains).where(domains.c.name == LAB)
        conn.execute(moved.values(tenant_id=home.tenants["clinique"]))
    assert not covered(database, home, "dr.martin").domains


def test_the_domain_of_an_address() -> None:
    assert domain_of("x@A.fr") == "a.fr"
    assert domain_of('"x@b.fr"@a.fr') == "a.fr"
    assert domain_of("") == ""
    assert not replace(Coverage(1), domains=frozenset({CHU})).has("")
