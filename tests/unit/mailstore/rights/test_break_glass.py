"""Break-glass access: a reason, an end, the holder told, two persons where asked (DOMAIN U1.2)."""

from datetime import timedelta

import pytest
from sqlalchemy import Connection

from mailstore.credentials.proof import Method
from mailstore.db.database import Database
from mailstore.errors import InvalidState, NotFound
from mailstore.rights import break_glass, roles
from mailstore.rights.break_glass import LONGEST, Access, Asker
from mailstore.rights.facts import load_actor, load_mailbox
from mailstore.rights.may import may
from mailstore.rights.model import (
    Action,
    Period,
    Reason,
    Role,
    RoleName,
)
from tests.support.clock import NOW
from tests.support.people import house
from tests.support.people.house import House
from tests.support.people.proofs import shown

HOUR = timedelta(hours=1)
UNIX = Asker(None, None, "root")


@pytest.fixture
def home(database: Database) -> House:
    """With an operator."""
    with database.write() as conn:
        home = house.build(conn)
        role = Role(RoleName.OPERATOR, Period(NOW))
        roles.give_role(conn, home.accounts["sec.durand"], role, given_by="root")
        return home


def asker(home: House, login: str, unix: str = "alice") -> Asker:
    return Asker(home.accounts[login], login, unix)


def ask(conn: Connection, home: House, who: Asker, *, second: bool = False) -> Access:
    return break_glass.ask(
        conn, home.mailboxes[house.ORG], who, "Dossier 12", NOW, NOW + HOUR, needs_second=second
    )


def reason(conn: Connection, home: House, login: str) -> Reason:
    mailbox = load_mailbox(conn, house.ORG)
    facts = load_actor(conn, home.accounts[login], shown(Method.PASSWORD, 2), mailbox.id)
    return may(facts, Action.READ, mailbox, NOW + HOUR / 2).reason


def test_access_opens_with_a_reason_and_ends(database: Database, home: House) -> None:
    with database.write() as conn:
        access = ask(conn, home, asker(home, "sec.durand"))
        assert reason(conn, home, "sec.durand") is Reason.BREAK_GLASS
        box = home.mailboxes[house.ORG]
        found = break_glass.open_access(conn, box, asker(home, "sec.durand"), NOW)
        assert found == access
        assert access.who == "sec.durand"
        assert break_glass.open_access(conn, box, asker(home, "sec.durand"), NOW + HOUR) is None
        assert break_glass.open_access(conn, box, UNIX, NOW) is None
        assert break_glass.list_accesses(conn, at=NOW) == [access]
        break_glass.close_access(conn, access.id, NOW)
        assert break_glass.list_accesses(conn, at=NOW) == []
        with pytest.raises(InvalidState, match="ended at"):
            break_glass.close_access(conn, access.id, NOW)


def test_the_unix_user_has_an_access_of_its_own(database: Database, home: House) -> None:
    with database.write() as conn:
        access = ask(conn, home, UNIX)
        box = home.mailboxes[house.ORG]
        assert break_glass.open_access(conn, box, UNIX, NOW) == access
        assert break_glass.open_access(conn, box, Asker(None, None, "bob"), NOW) is None


@pytest.mark.parametrize(
    ("reason", "ends", "text"),
    [
        (" ", NOW + HOUR, "needs a reason"),
        ("x", NOW, "within 24 hours"),
        ("x", NOW + LONGEST + HOUR, "within 24 hours"),
    ],
)
def test_access_that_is_refused(
    database: Database, home: House, reason: str, ends: object, text: str
) -> None:
    with database.write() as conn, pytest.raises(InvalidState, match=text):
        break_glass.ask(
            conn,
            home.mailboxes[house.ORG],
            UNIX,
            reason,
            NOW,
            ends,  # type: ignore[arg-type] # a datetime of the table above
            needs_second=False,
        )


def test_two_persons_where_two_are_needed(database: Database, home: House) -> None:
    first, second = asker(home, "sec.durand"), asker(home, "ide.petit", "bob")
    with database.write() as conn:
        access = ask(conn, home, first, second=True)
        assert reason(conn, home, "sec.durand") is not Reason.BREAK_GLASS
        assert break_glass.untold(conn) == []
        for same in (
            first,
            asker(home, "sec.durand", "bob"),  # the same account under another Unix user
            asker(home, "ide.petit", "alice"),  # another account under the same Unix user
            Asker(None, None, "bob"),  # a Unix user alone proves no person
        ):
            with pytest.raises(InvalidState, match="another person"):
                break_glass.agree(conn, access.id, same, NOW)
        agreed = break_glass.agree(conn, access.id, second, NOW)
        assert (agreed.second, agreed.agreed_at) == ("ide.petit", NOW)
        assert reason(conn, home, "sec.durand") is Reason.BREAK_GLASS
        with pytest.raises(InvalidState, match="needs no second"):
            break_glass.agree(conn, access.id, second, NOW)


def test_a_second_person_comes_in_time(database: Database, home: House) -> None:
    with database.write() as conn:
        access = ask(conn, home, asker(home, "sec.durand"), second=True)
        with pytest.raises(InvalidState, match="ended at"):
            break_glass.agree(conn, access.id, asker(home, "ide.petit", "bob"), NOW + HOUR)
        with pytest.raises(NotFound, match="no access with the number 99"):
            break_glass.agree(conn, 99, asker(home, "ide.petit", "bob"), NOW)


def test_the_holder_is_told_once(database: Database, home: House) -> None:
    with database.write() as conn:
        access = ask(conn, home, UNIX)
        assert break_glass.untold(conn) == [access]
        assert break_glass.set_told(conn, access.id, NOW)
        assert not break_glass.set_told(conn, access.id, NOW)
        assert break_glass.untold(conn) == []


def test_a_patients_number_in_a_reason_is_masked(database: Database, home: House) -> None:
    with database.write() as conn:
        access = break_glass.ask(
            conn,
            home.mailboxes[house.ORG],
            UNIX,
            "plainte de 279035121518989",
            NOW,
            NOW + HOUR,
            needs_second=False,
        )
        assert "279035121518989" not in access.reason
