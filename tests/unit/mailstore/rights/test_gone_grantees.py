"""Nothing is given to whoever is gone, nor twice, also at once (DOMAIN §9.36)."""

import threading
from datetime import timedelta

import pytest

from mailstore.accounts.accounts import get_account
from mailstore.accounts.closing import close_account
from mailstore.accounts.groups import get_group, remove_group
from mailstore.db.database import Database
from mailstore.errors import Conflict, Forbidden, InvalidState
from mailstore.rights import break_glass, grants, roles
from mailstore.rights.break_glass import Asker
from mailstore.rights.grants import Grantee
from mailstore.rights.model import Period, Right, Role, RoleName
from tests.support.clock import NOW
from tests.support.people import house
from tests.support.people.house import House

READ = frozenset({Right.READ})
HOUR = timedelta(hours=1)


@pytest.fixture
def home(database: Database) -> House:
    with database.write() as conn:
        return house.build(conn)


def test_a_closed_account_gets_neither_grants_nor_roles(database: Database, home: House) -> None:
    # Whatever it got would stay for good: nothing of it is ended or forgotten any more.
    with database.write() as conn:
        close_account(conn, "sec.durand", "départ", now=NOW)
        left = get_account(conn, "sec.durand")
        to = Grantee(left.id, left.login, 1)
        with pytest.raises(InvalidState, match=r"sec\.durand is closed"):
            grants.give(conn, home.mailboxes[house.ORG], 1, to, READ, Period(NOW), given_by="root")
        with pytest.raises(InvalidState, match=r"sec\.durand is closed"):
            roles.give_role(conn, left.id, Role(RoleName.AUDITOR, Period(NOW)), given_by="root")


def test_a_removed_group_gets_no_grant(database: Database, home: House) -> None:
    with database.write() as conn:
        group = get_group(conn, 1, "bloc")
        remove_group(conn, group, now=NOW)
        to = Grantee(group.id, group.name, 1, group=True)
        with pytest.raises(InvalidState, match="bloc was removed"):
            grants.give(conn, home.mailboxes[house.ORG], 1, to, READ, Period(NOW), given_by="root")


def test_two_at_once_do_not_give_two_grants(database: Database, home: House) -> None:
    # One would be ended, and the other would still open the mailbox.
    given, together = list[str](), threading.Barrier(2)
    to = Grantee(home.accounts["sec.durand"], "sec.durand", 1)

    def give() -> None:
        together.wait()
        try:
            with database.write() as conn:
                box = home.mailboxes[house.ORG]
                grants.give(conn, box, 1, to, READ, Period(NOW), given_by="root")
                given.append("given")
        except Conflict:
            given.append("refused")

    for _ in range(5):
        threads = [threading.Thread(target=give) for _ in range(2)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert sorted(given) == ["given", "refused"]
        given.clear()
        with database.write() as conn:
            (number,) = (one.id for one in grants.list_grants(conn, at=NOW))
            grants.end(conn, number, NOW)


def test_an_access_is_agreed_to_by_one_person(database: Database, home: House) -> None:
    # Another who agrees at the same time learns that it was somebody else.
    def asker(login: str, unix: str) -> Asker:
        return Asker(home.accounts[login], login, unix)

    box = home.mailboxes[house.ORG]
    outcomes, together = list[str](), threading.Barrier(2)
    for _ in range(5):
        with database.write() as conn:
            first = asker("dr.martin", "alice")
            access = break_glass.ask(conn, box, first, "x", NOW, NOW + HOUR, needs_second=True)

        def agree(who: Asker, number: int = access.id) -> None:
            together.wait()
            try:
                with database.write() as conn:
                    break_glass.agree(conn, number, who, NOW)
                outcomes.append("agreed")
            except InvalidState:
                outcomes.append("refused")

        threads = [
            threading.Thread(target=agree, args=(asker(login, unix),))
            for login, unix in (("ide.petit", "bob"), ("sec.durand", "carol"))
        ]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert sorted(outcomes) == ["agreed", "refused"]
        outcomes.clear()


def test_what_a_rule_on_rights_forbids_is_told_apart(database: Database, home: House) -> None:
    # These refusals are in the audit trail, whoever asks.
    abroad = Grantee(home.accounts["abroad"], "abroad", home.tenants["clinique"])
    with database.write() as conn:
        with pytest.raises(Forbidden):
            grants.give(
                conn, home.mailboxes[house.ORG], 1, abroad, READ, Period(NOW), given_by="root"
            )
        role = Role(RoleName.AUDITOR, Period(NOW), tenant_id=1)
        with pytest.raises(Forbidden):
            roles.give_role(conn, abroad.id, role, given_by="root")


@pytest.mark.parametrize("reason", ["x" * 501, "a\x1b[2Jb", "a\u202eb", "\udce9"])
def test_a_reason_that_the_holder_could_not_read(
    database: Database, home: House, reason: str
) -> None:
    box, who = home.mailboxes[house.ORG], Asker(None, None, "root")
    with database.write() as conn, pytest.raises(InvalidState, match="reason"):
        break_glass.ask(conn, box, who, reason, NOW, NOW + HOUR, needs_second=False)


def test_a_reason_is_one_line(database: Database, home: House) -> None:
    # Lines of it could look like other parts of the message to the holder.
    who, box = Asker(None, None, "root"), home.mailboxes[house.ORG]
    with database.write() as conn:
        access = break_glass.ask(
            conn, box, who, " panne\r\n\r\nNobody has read it.", NOW, NOW + HOUR, needs_second=False
        )
    assert access.reason == "panne Nobody has read it."
