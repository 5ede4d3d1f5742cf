"""Grants, roles and the facts that `may` gets of them, on both databases."""

from datetime import timedelta

import pytest
from sqlalchemy import Connection

from mailstore.accounts.changes import access_number
from mailstore.accounts.endings import GrantEnded
from mailstore.credentials.proof import Method
from mailstore.db.database import Database
from mailstore.errors import Conflict, InvalidState, NotFound
from mailstore.rights import grants, roles
from mailstore.rights.facts import load_actor, load_mailbox
from mailstore.rights.grants import Grantee
from mailstore.rights.may import may
from mailstore.rights.model import (
    Action,
    Period,
    Reason,
    Right,
    Role,
    RoleName,
)
from mailstore.scope.model import Scope
from tests.support.clock import NOW
from tests.support.people import house
from tests.support.people.house import House
from tests.support.people.proofs import shown
from tests.support.storage.news import told_mailboxes

DAY = timedelta(days=1)
READ = frozenset({Right.READ})
STRONG = shown(Method.OIDC, 2)


@pytest.fixture
def home(database: Database) -> House:
    with database.write() as conn:
        return house.build(conn)


def give(conn: Connection, home: House, login: str, address: str, period: Period) -> int:
    grantee = Grantee(home.accounts[login], login, 1)
    return grants.give(conn, home.mailboxes[address], 1, grantee, READ, period, given_by="root")


def reason(conn: Connection, home: House, login: str, address: str, action: Action) -> Reason:
    mailbox = load_mailbox(conn, address)
    facts = load_actor(conn, home.accounts[login], STRONG, mailbox.id)
    return may(facts, action, mailbox, NOW).reason


def test_facts_of_holders_co_holders_groups_and_strangers(database: Database, home: House) -> None:
    """DOMAIN §9.36, §9.37."""
    with database.write() as conn:
        group = Grantee(home.groups["bloc"], "bloc", 1, group=True)
        grants.give(conn, home.mailboxes[house.ORG], 1, group, READ, Period(NOW), given_by="root")
        give(conn, home, "sec.durand", house.ORG, Period(NOW, NOW + DAY))
    with database.read() as conn:
        assert reason(conn, home, "dr.martin", house.PER, Action.SEND) is Reason.HOLDER
        assert reason(conn, home, "dr.martin", house.CAB, Action.SEND) is Reason.HOLDER
        assert reason(conn, home, "dr.martin", house.ORG, Action.READ) is Reason.NO_RIGHT
        assert reason(conn, home, "ide.petit", house.ORG, Action.READ) is Reason.GROUP
        assert reason(conn, home, "sec.durand", house.ORG, Action.READ) is Reason.GRANT
        assert reason(conn, home, "abroad", house.CAB, Action.READ) is Reason.OTHER_TENANT


def test_a_grant_ends_and_another_may_begin(database: Database, home: House) -> None:
    with database.write() as conn:
        number = give(conn, home, "sec.durand", house.ORG, Period(NOW))
    with database.write() as conn, pytest.raises(Conflict, match=f"has the grant {number} already"):
        give(conn, home, "sec.durand", house.ORG, Period(NOW + DAY))
    with database.write() as conn:
        before = access_number(conn)
        ended, (ending,) = grants.end(conn, number, NOW + DAY)
        assert isinstance(ending, GrantEnded)
        # Doors of this process get the ending, doors of others see another number.
        assert (ending.grant, ending.account) == (number, home.accounts["sec.durand"])
        assert access_number(conn) != before
        assert ended.grant.period == Period(NOW, NOW + DAY)
        assert (ended.mailbox, ended.grantee, ended.given_by) == (house.ORG, "sec.durand", "root")
        give(conn, home, "sec.durand", house.ORG, Period(NOW + DAY))
    with database.write() as conn, pytest.raises(InvalidState, match=f"the grant {number} ended"):
        grants.end(conn, number, NOW + DAY)


def test_a_grant_ended_before_its_begin_never_begins(database: Database, home: House) -> None:
    with database.write() as conn:
        number = give(conn, home, "sec.durand", house.ORG, Period(NOW + DAY))
        period = grants.end(conn, number, NOW)[0].grant.period
        assert not any(period.holds(NOW + hours * timedelta(hours=1)) for hours in range(72))


@pytest.mark.parametrize(
    ("rights", "period", "tenant", "text"),
    [
        (READ, Period(NOW), 2, "belongs to another tenant"),
        (frozenset[Right](), Period(NOW), 1, "needs a right"),
        (frozenset({Right.ACT}), Period(NOW), 1, "act needs read too"),
        (READ, Period(NOW, NOW), 1, "end before it begins"),
    ],
)
def test_grants_that_are_refused(
    database: Database,
    home: House,
    rights: frozenset[Right],
    period: Period,
    tenant: int,
    text: str,
) -> None:
    grantee = Grantee(home.accounts["sec.durand"], "sec.durand", tenant)
    with database.write() as conn, pytest.raises(InvalidState, match=text):
        grants.give(conn, home.mailboxes[house.ORG], 1, grantee, rights, period, given_by="x")
    with database.read() as conn:
        assert grants.list_grants(conn) == []


def test_grants_are_listed_in_pages_and_by_end(database: Database, home: House) -> None:
    with database.write() as conn:
        numbers = [
            give(conn, home, "sec.durand", house.ORG, Period(NOW + n * DAY, NOW + (n + 1) * DAY))
            for n in range(5)
        ]
    with database.read() as conn:
        first = grants.list_grants(conn, limit=2)
        assert [one.id for one in first] == numbers[:2]
        rest = grants.list_grants(conn, after=first[-1].id, limit=10)
        assert [one.id for one in rest] == numbers[2:]
        soon = grants.list_grants(conn, ends_before=NOW + 2 * DAY, at=NOW + DAY)
        assert [one.id for one in soon] == []
        soon = grants.list_grants(conn, ends_before=NOW + 3 * DAY, at=NOW + DAY)
        assert [one.id for one in soon] == numbers[1:2]
        assert grants.list_grants(conn, scope=Scope(home.tenants["clinique"], entire=True)) == []
        assert len(grants.list_grants(conn, account_id=home.accounts["sec.durand"])) == 5
        with pytest.raises(NotFound, match="no grant 99"):
            grants.get(conn, 99)


def test_roles_keep_to_their_tenant(database: Database, home: House) -> None:
    account, clinic = home.accounts["sec.durand"], home.tenants["clinique"]
    with database.write() as conn:
        role = Role(RoleName.AUDITOR, Period(NOW), tenant_id=clinic)
        with pytest.raises(InvalidState, match="another tenant"):
            roles.give_role(conn, account, role, given_by="root")
        number = roles.give_role(
            conn, account, Role(RoleName.AUDITOR, Period(NOW), tenant_id=1), given_by="root"
        )
        with pytest.raises(Conflict, match=f"already, number {number}"):
            roles.give_role(
                conn, account, Role(RoleName.AUDITOR, Period(NOW), tenant_id=1), given_by="root"
            )
        (listed,) = roles.list_roles(conn, account_id=account)
        assert (listed.scope, listed.role.name) == ("operator", RoleName.AUDITOR)
        assert reason(conn, home, "sec.durand", house.ORG, Action.AUDIT) is Reason.ROLE
        roles.end_role(conn, number, NOW)
        assert reason(conn, home, "sec.durand", house.ORG, Action.AUDIT) is Reason.NO_RIGHT
        with pytest.raises(InvalidState, match="ended at"):
            roles.end_role(conn, number, NOW)


def test_facts_of_unknown_mailboxes_and_accounts(database: Database, home: House) -> None:
    assert home.accounts
    with database.read() as conn:
        with pytest.raises(NotFound, match="no mailbox x@chu"):
            load_mailbox(conn, "x@chu.mssante.fr")
        with pytest.raises(NotFound, match="no account with the number 99"):
            load_actor(conn, 99, STRONG)


def test_watchers_are_told_when_a_grant_begins_or_ends(database: Database, home: House) -> None:
    box = home.mailboxes[house.ORG]
    with told_mailboxes(database) as begun, database.write() as conn:
        number = give(conn, home, "sec.durand", house.ORG, Period(NOW))
    with told_mailboxes(database) as ended, database.write() as conn:
        grants.end(conn, number, NOW + DAY)
    assert (begun, ended) == ({box}, {box})
