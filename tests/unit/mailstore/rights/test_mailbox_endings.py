"""Deleting a mailbox ends all that opens it; nothing of it comes back by itself."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from mailstore.accounts.accounts import get_account
from mailstore.accounts.changes import access_number
from mailstore.accounts.endings import CredentialEnded, GrantEnded, MailboxEnded, TeamMoveEnded
from mailstore.credentials.app_passwords import (
    AppPasswordPolicy,
    AppPasswordRequest,
    add_app_password,
)
from mailstore.credentials.credentials import CredentialKind, insert_credential, list_credentials
from mailstore.credentials.proof import Method, Proof
from mailstore.db.database import Database
from mailstore.db.people_schema import grants as grants_table
from mailstore.errors import InvalidState, NotFound
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.mailboxes.lifecycle import delete_mailbox, restore_mailbox
from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.rights import break_glass, grants, team_moves
from mailstore.rights.break_glass import Asker
from mailstore.rights.grants import Grantee
from mailstore.rights.mailbox_endings import AccessEnded, end_access, end_sessions
from mailstore.rights.model import Period, Right
from mailstore.sealed.keyring import Keyring, make_first
from tests.support.clock import NOW
from tests.support.people import house
from tests.support.people.house import House
from tests.support.people.proofs import shown

DAY = timedelta(days=1)
READ = frozenset({Right.READ})
LATER = NOW + DAY
ROOT = Asker(None, None, "root")


@pytest.fixture
def home(database: Database) -> House:
    """An ORG mailbox with everything that may open it, and another one with a grant."""
    with database.write() as conn:
        home = house.build(conn)
        box = home.mailboxes[house.ORG]
        for name, number, group, period in (
            ("sec.durand", home.accounts["sec.durand"], False, Period(NOW)),
            ("bloc", home.groups["bloc"], True, Period(NOW, NOW + 9 * DAY)),
            ("dr.martin", home.accounts["dr.martin"], False, Period(NOW + 5 * DAY)),  # to come
        ):
            grants.give(
                conn, box, 1, Grantee(number, name, 1, group), READ, period, given_by="root"
            )
        grants.give(
            conn,
            home.mailboxes[house.CAB],
            1,
            Grantee(home.accounts["sec.durand"], "sec.durand", 1),
            READ,
            Period(NOW),
            given_by="root",
        )
        account = get_account(conn, "sec.durand")
        for mailbox in (box, home.mailboxes[house.CAB], None):
            insert_credential(
                conn,
                account,
                CredentialKind.APP_PASSWORD if mailbox else CredentialKind.PASSWORD,
                "poste",
                b"x",
                now=NOW,
                mailbox_id=mailbox,
            )
        for minutes in (1, 60 * 23):
            ends = NOW + timedelta(minutes=minutes)
            break_glass.ask(conn, box, ROOT, "Réquisition", NOW, ends, needs_second=False)
        team_moves.begin_move(conn, box, NOW, NOW + 30 * DAY, "$argon2id$")
        return home


def delete(database: Database, home: House) -> AccessEnded:
    at = NOW + timedelta(hours=1)
    with database.write() as conn:
        before = access_number(conn)
        delete_mailbox(conn, house.ORG, reason="départ", grace=30 * DAY, now=at)
        ended = end_access(conn, home.mailboxes[house.ORG], at)
        assert access_number(conn) != before
    return ended


def test_all_ends_at_once_and_the_doors_are_told(database: Database, home: House) -> None:
    """DOMAIN §9.36, §9.39."""
    ended, box = delete(database, home), home.mailboxes[house.ORG]
    assert ended.counts == {
        "grants": 3,
        "credentials": 1,
        "team_moves": 1,
        "assignments": 0,
        "break_glass": 1,
    }
    assert {type(one) for one in ended.endings} == {
        MailboxEnded,
        GrantEnded,
        CredentialEnded,
        TeamMoveEnded,
    }
    assert ended.endings[0] == MailboxEnded(mailbox=box, at=NOW + timedelta(hours=1), closed=True)
    with database.read() as conn:
        assert grants.list_grants(conn, mailbox_id=box, at=NOW + timedelta(hours=1)) == []
        assert break_glass.list_accesses(conn, at=NOW + timedelta(hours=1)) == []
        move = team_moves.get_move(conn, box)
        assert (move.shared, move.ended_at) == (False, NOW + timedelta(hours=1))
        live = [
            one.mailbox
            for one in list_credentials(conn, home.accounts["sec.durand"])
            if one.live(LATER)
        ]
        # The password of the account and the rights on another mailbox stay.
        assert sorted(one or "" for one in live) == ["", house.CAB]
        (left,) = grants.list_grants(conn, at=LATER)
        assert left.mailbox == house.CAB


def test_a_restoration_brings_nothing_back(database: Database, home: House) -> None:
    delete(database, home)
    with database.write() as conn:
        restore_mailbox(conn, house.ORG, reason="erreur", now=LATER)
    with database.write() as conn:
        box = home.mailboxes[house.ORG]
        assert grants.list_grants(conn, mailbox_id=box, at=LATER) == []
        # Grants may be given anew.
        sec = Grantee(home.accounts["sec.durand"], "sec.durand", 1)
        grants.give(conn, box, 1, sec, READ, Period(LATER), given_by="root")
        team_moves.begin_move(conn, box, LATER, LATER + DAY)


def test_a_deleted_mailbox_gets_nothing_that_would_come_back(
    database: Database, home: House, tmp_path_factory: pytest.TempPathFactory
) -> None:
    delete(database, home)
    box = home.mailboxes[house.ORG]
    path = tmp_path_factory.mktemp("keys") / "keys"
    make_first(path, NOW)
    with database.write() as conn:
        account = get_account(conn, "ide.petit")
        asked = AppPasswordRequest(
            mailbox=get_mailbox(conn, house.ORG),
            name="poste",
            protocols=frozenset({"imap"}),
            ends_at=LATER + DAY,
        )
        with pytest.raises(InvalidState, match="is deleted: restore it first"):
            add_app_password(
                conn,
                account,
                asked,
                _of(account.id),
                AppPasswordPolicy(frozenset({MailboxType.ORG})),
                Keyring(path),
                now=NOW,
            )
        sec = Grantee(home.accounts["sec.durand"], "sec.durand", 1)
        with pytest.raises(InvalidState, match="is deleted: restore it first"):
            grants.give(conn, box, 1, sec, READ, Period(LATER), given_by="root")
        with pytest.raises(InvalidState, match="is deleted: restore it first"):
            team_moves.begin_move(conn, box, LATER, LATER + DAY)
        with pytest.raises(NotFound, match="no mailbox of number"):
            grants.give(conn, 10_000, 1, sec, READ, Period(LATER), given_by="root")


def _of(account: int) -> Proof:
    return replace(shown(Method.OIDC, 2), account=account)


def test_an_access_to_a_deleted_mailbox_ends_again(database: Database, home: House) -> None:
    """An administrator may still need its content; the erasure ends that too."""
    delete(database, home)
    box = home.mailboxes[house.ORG]
    with database.write() as conn:
        break_glass.ask(conn, box, ROOT, "Réquisition", LATER, LATER + DAY, needs_second=False)
        ended = end_access(conn, box, LATER + timedelta(hours=1))
    assert {name for name, number in ended.counts.items() if number} == {"break_glass"}
    assert ended.accesses == 1


@pytest.mark.parametrize("closed", [True, False])
def test_a_closed_or_suspended_mailbox_keeps_its_rights(
    database: Database, home: House, closed: bool
) -> None:
    box = home.mailboxes[house.ORG]
    with database.write() as conn:
        before, ends = access_number(conn), list(conn.scalars(select(grants_table.c.ends_at)))
        ended = end_sessions(conn, box, NOW, closed=closed)
        assert ended == MailboxEnded(mailbox=box, at=NOW, closed=closed)
        assert access_number(conn) != before
        assert list(conn.scalars(select(grants_table.c.ends_at))) == ends


def test_a_grant_given_during_the_deletion_is_refused(database: Database, home: House) -> None:
    """Otherwise it would come back with a restoration, which brings nothing back."""
    deleted, outcomes = threading.Event(), list[str]()
    nurse = Grantee(home.accounts["ide.petit"], "ide.petit", 1)

    def give() -> None:
        deleted.wait()
        try:
            with database.write() as conn:
                grants.give(
                    conn,
                    home.mailboxes[house.ORG],
                    1,
                    nurse,
                    READ,
                    Period(LATER),
                    given_by="root",
                )
        except InvalidState as error:
            outcomes.append(str(error))

    giving = threading.Thread(target=give)
    giving.start()
    with database.write() as conn:
        delete_mailbox(conn, house.ORG, reason="départ", grace=DAY, now=NOW)
        deleted.set()
        giving.join(0.5)  # it cannot end before the deletion is committed
        assert giving.is_alive()
        end_access(conn, home.mailboxes[house.ORG], NOW)
    giving.join()
    assert outcomes == [f"the mailbox {house.ORG} is deleted: restore it first"]
    with database.read() as conn:
        assert grants.list_grants(conn, mailbox_id=home.mailboxes[house.ORG], at=LATER) == []
