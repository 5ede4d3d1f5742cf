"""Reports of rights, and the move of a team to named accounts."""

from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import update

from mailstore.accounts.changes import access_number
from mailstore.accounts.endings import TeamMoveEnded
from mailstore.db.database import Database
from mailstore.db.people_schema import accounts
from mailstore.errors import Conflict, InvalidState, NotFound
from mailstore.rights import grants, reports, team_moves
from mailstore.rights.grants import Grantee
from mailstore.rights.model import Period, Right
from tests.support.clock import NOW
from tests.support.people import house
from tests.support.people.house import House

DAY = timedelta(days=1)


@pytest.fixture
def home(database: Database) -> House:
    with database.write() as conn:
        return house.build(conn)


def give(
    database: Database,
    home: House,
    name: str,
    *rights: Right,
    period: Period | None = None,
) -> None:
    group = name in home.groups
    number = home.groups[name] if group else home.accounts[name]
    with database.write() as conn:
        grants.give(
            conn,
            home.mailboxes[house.ORG],
            1,
            Grantee(number, name, 1, group),
            frozenset(rights or {Right.READ}),
            period or Period(NOW),
            given_by="root",
        )


def unreadable(database: Database, tenant: int | None = None) -> list[str]:
    with database.read() as conn:
        return reports.unreadable_mailboxes(conn, NOW, tenant_id=tenant)


def test_mailboxes_that_nobody_may_read(database: Database, home: House) -> None:
    # The practice's mailbox has a co-holder with an account; the clinic's, nobody.
    assert unreadable(database) == [house.ORG, house.ABROAD]
    assert unreadable(database, home.tenants["clinique"]) == [house.ABROAD]
    give(database, home, "sec.durand", Right.SEND)
    assert house.ORG in unreadable(database)
    give(database, home, "bloc")
    assert unreadable(database) == [house.ABROAD]
    with database.write() as conn:
        house.set_account_state(conn, home.accounts["ide.petit"], "closed")
    assert house.ORG in unreadable(database)
    with database.read() as conn:
        assert reports.unreadable_mailboxes(conn, NOW, limit=1) == [house.ORG]
        assert reports.unreadable_mailboxes(conn, NOW, after=house.ORG) == [house.ABROAD]


def test_grants_that_ended_or_have_not_begun_read_nothing(database: Database, home: House) -> None:
    give(database, home, "sec.durand", period=Period(NOW - DAY, NOW))
    give(database, home, "ide.petit", period=Period(NOW + DAY))
    assert house.ORG in unreadable(database)


def test_accounts_long_unused(database: Database, home: House) -> None:
    with database.write() as conn:
        conn.execute(
            update(accounts)
            .where(accounts.c.login == "dr.martin")
            .values(last_login_at=NOW + 9 * DAY)
        )
    with database.read() as conn:
        unused = reports.unused_accounts(conn, NOW + 9 * DAY)
        assert [one.login for one in unused] == ["abroad", "ide.petit", "labo", "sec.durand"]
        assert reports.unused_accounts(conn, NOW) == []  # too young
        (one,) = reports.unused_accounts(conn, NOW + 9 * DAY, tenant_id=home.tenants["clinique"])
        assert (one.login, one.last_login_at) == ("abroad", None)
        page = reports.unused_accounts(conn, NOW + 9 * DAY, after="ide.petit", limit=1)
        assert [one.login for one in page] == ["labo"]


def test_a_departure_names_everything_left_behind(database: Database, home: House) -> None:
    give(database, home, "dr.martin", Right.READ, Right.MANAGE)
    give(database, home, "ide.petit", Right.READ)
    with database.read() as conn:
        left = reports.departure(conn, home.accounts["dr.martin"], NOW)
    assert left.held == (house.CAB, house.PER)
    assert left.orphaned == (house.ORG,)  # read by another, managed by nobody else
    assert [one.mailbox for one in left.grants] == [house.ORG]
    give(database, home, "sec.durand", Right.READ, Right.MANAGE)
    with database.read() as conn:
        assert reports.departure(conn, home.accounts["dr.martin"], NOW).orphaned == ()


def test_a_departure_looks_at_groups_and_at_all_grants(
    database: Database, home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(database, home, "bloc", Right.READ, Right.MANAGE)  # ide.petit is its only member
    with database.read() as conn:
        assert reports.departure(conn, home.accounts["ide.petit"], NOW).orphaned == (house.ORG,)
        assert reports.departure(conn, home.accounts["sec.durand"], NOW).orphaned == ()
    monkeypatch.setattr(reports, "list_grants", partial(grants.list_grants, limit=2))
    for number in range(5):
        begin = NOW + number * DAY
        give(database, home, "sec.durand", period=Period(begin, begin + DAY))
    with database.read() as conn:
        assert len(reports.departure(conn, home.accounts["sec.durand"], NOW).grants) == 5


def test_a_team_moves_and_the_absent_are_named(database: Database, home: House) -> None:
    box = home.mailboxes[house.ORG]
    give(database, home, "sec.durand")
    give(database, home, "bloc")
    give(database, home, "labo")  # a program is no member
    with database.write() as conn:
        move = team_moves.begin_move(conn, box, NOW, NOW + 30 * DAY)
        absent = team_moves.absent_members(conn, move, NOW)
        assert [one.login for one in absent] == ["ide.petit", "sec.durand"]
        conn.execute(
            update(accounts).where(accounts.c.login == "ide.petit").values(last_login_at=NOW)
        )
        absent = team_moves.absent_members(conn, move, NOW)
        assert [one.login for one in absent] == ["sec.durand"]
        with pytest.raises(Conflict, match="goes on already"):
            team_moves.begin_move(conn, box, NOW, NOW + DAY)
        before = access_number(conn)
        move, ended = team_moves.end_move(conn, box, NOW + DAY)
        assert move.ended_at == NOW + DAY
        assert ended == TeamMoveEnded(mailbox=box, at=NOW + DAY)
        assert access_number(conn) != before
        with pytest.raises(InvalidState, match="ended already"):
            team_moves.end_move(conn, box, NOW + DAY)
        assert team_moves.begin_move(conn, box, NOW + DAY, NOW + 2 * DAY).ended_at is None


def test_moves_that_are_refused(database: Database, home: House) -> None:
    box = home.mailboxes[house.ORG]
    with database.write() as conn:
        for until in (NOW, NOW + 93 * DAY):
            with pytest.raises(InvalidState, match="within 92 days"):
                team_moves.begin_move(conn, box, NOW, until)
        with pytest.raises(NotFound, match="no team moves"):
            team_moves.end_move(conn, box, NOW)
