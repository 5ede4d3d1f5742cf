"""Groups of accounts."""

import pytest

from mailstore.accounts.changes import access_number
from mailstore.accounts.closing import close_account
from mailstore.accounts.endings import GrantEnded, MembershipEnded
from mailstore.accounts.groups import (
    add_group,
    add_member,
    get_group,
    group_ids,
    list_groups,
    list_members,
    remove_group,
    remove_member,
)
from mailstore.db.database import Database
from mailstore.db.people_schema import OPERATOR_TENANT
from mailstore.errors import Conflict, InvalidState, NotFound
from tests.support.clock import NOW
from tests.support.people import box, customer, grant, grant_ends, person


def test_members_come_and_go(database: Database) -> None:
    with database.write() as conn:
        group = add_group(conn, OPERATOR_TENANT, " Secrétariat  du bloc", now=NOW)
        claire, paul = person(conn, "claire"), person(conn, "paul")
        add_member(conn, group, "Paul", now=NOW)
        add_member(conn, group, "claire", now=NOW)
        add_member(conn, group, "claire", now=NOW)
        assert list_members(conn, group) == [claire, paul]
        assert list_members(conn, group, limit=1) == [claire]
        assert list_members(conn, group, after="claire") == [paul]
        assert get_group(conn, OPERATOR_TENANT, "Secrétariat du bloc").members == 2
        before = access_number(conn)
        _, endings = remove_member(conn, group, "paul", now=NOW)
        assert endings == [MembershipEnded(account=paul.id, group=group.id, at=NOW)]
        assert access_number(conn) != before
        assert (group_ids(conn, claire.id), group_ids(conn, paul.id)) == ({group.id}, frozenset())
        with pytest.raises(NotFound, match="paul is not in the group"):
            remove_member(conn, group, "paul", now=NOW)
        close_account(conn, "paul", "départ", now=NOW)
        with pytest.raises(InvalidState):
            add_member(conn, group, "paul", now=NOW)


def test_a_removed_group_ends_its_grants(database: Database) -> None:
    with database.write() as conn:
        chu = customer(conn, "chu", "chu.mssante.fr")
        mailbox = box(conn, "bloc@chu.mssante.fr")
        group = add_group(conn, chu.id, "bloc", now=NOW)
        claire = person(conn, "claire", chu.id)
        add_member(conn, group, "claire", now=NOW)
        given = grant(conn, mailbox, None, group.id)
        assert remove_group(conn, group, now=NOW) == [
            GrantEnded(grant=given, mailbox=mailbox.id, account=None, group=group.id, at=NOW),
            MembershipEnded(account=claire.id, group=group.id, at=NOW),
        ]
        assert grant_ends(conn, given) == NOW
        assert list_groups(conn, chu.id) == []
        with pytest.raises(NotFound):
            get_group(conn, chu.id, "bloc")
        with pytest.raises(InvalidState, match="removed meanwhile"):
            add_member(conn, group, "claire", now=NOW)
        again = add_group(conn, chu.id, "bloc", now=NOW)
        assert again.id != group.id
        assert again.members == 0


def test_groups_stay_within_their_tenant(database: Database) -> None:
    with database.write() as conn:
        chu = customer(conn, "chu", "chu.mssante.fr")
        group = add_group(conn, chu.id, "bloc", now=NOW)
        person(conn, "claire")
        with pytest.raises(NotFound, match="no account claire in the tenant of the group bloc"):
            add_member(conn, group, "claire", now=NOW)
        add_group(conn, OPERATOR_TENANT, "bloc", now=NOW)
        with pytest.raises(Conflict, match="bloc exists already"):
            add_group(conn, OPERATOR_TENANT, "bloc", now=NOW)
        add_group(conn, OPERATOR_TENANT, "accueil", now=NOW)
        names = [one.name for one in list_groups(conn, OPERATOR_TENANT)]
        assert names == ["accueil", "bloc"]
        assert [one.name for one in list_groups(conn, OPERATOR_TENANT, after="accueil")] == ["bloc"]
