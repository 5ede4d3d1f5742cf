"""Persons are forgotten some time after their account was closed; its log-in name stays."""

from datetime import timedelta

import pytest
from sqlalchemy import Connection, func, insert, select, update

from mailstore.accounts.accounts import get_account, suspend_account
from mailstore.accounts.closing import close_account
from mailstore.accounts.forgetting import forget_closed
from mailstore.accounts.identifiers import add_identifier
from mailstore.credentials.passwords import set_password
from mailstore.db.database import Database
from mailstore.db.folder_schema import seen_by_person
from mailstore.db.people_schema import account_identifiers, accounts, credentials, grants
from mailstore.errors import Conflict
from mailstore.folders.lock import lock_mailbox
from mailstore.sealed.row_seal import RowSeal
from mailstore.teams.notes import add_note, list_notes
from tests.support.clock import NOW
from tests.support.people.accounts import OTHER_RPPS, RPPS, box, customer, grant, person
from tests.support.people.teams import deliver, make_team

DAY = timedelta(days=1)


def counted(conn: Connection) -> list[int]:
    tables = (account_identifiers, credentials, grants)
    return [conn.scalar(select(func.count()).select_from(table)) or 0 for table in tables]


def test_only_who_left_long_ago_is_forgotten(database: Database) -> None:
    with database.write() as conn:
        chu = customer(conn, "chu", "chu.mssante.fr")
        team = box(conn, "a@chu.mssante.fr")
        for login, identifier in (("claire", RPPS), ("paul", OTHER_RPPS)):
            account = person(conn, login, chu.id)
            add_identifier(conn, login, identifier, now=NOW)
            set_password(conn, account, "x", now=NOW)
            grant(conn, team, account.id)
        person(conn, "absent")
        suspend_account(conn, "absent", "congé", now=NOW)
        conn.execute(update(accounts).values(failed_logins=3, failed_at=NOW))
        close_account(conn, "claire", "départ", now=NOW)
        close_account(conn, "paul", "départ", now=NOW + DAY)
        assert forget_closed(conn, NOW) == []
        assert forget_closed(conn, NOW + DAY) == [("claire", chu.id)]
        assert forget_closed(conn, NOW + DAY) == []
        claire = get_account(conn, "claire")
        assert (claire.name, claire.state_reason, claire.state) == ("", None, "closed")
        failed = select(accounts.c.failed_logins, accounts.c.failed_at)
        assert conn.execute(failed.where(accounts.c.login == "claire")).one() == (0, None)
        assert (get_account(conn, "paul").name, get_account(conn, "absent").name) == (
            "Claire Paul",
            "Claire Absent",
        )
        assert counted(conn) == [1, 1, 1]
        with pytest.raises(Conflict, match="claire is taken"):
            person(conn, "claire")


def test_many_in_parts(database: Database) -> None:
    with database.write() as conn:
        for number in range(5):
            person(conn, f"a{number}")
            close_account(conn, f"a{number}", "x", now=NOW + number * DAY)
        parts = [forget_closed(conn, NOW + 9 * DAY, limit=2) for _ in range(4)]
    assert [[login for login, _ in part] for part in parts] == [
        ["a0", "a1"],
        ["a2", "a3"],
        ["a4"],
        [],
    ]


def test_what_the_person_saw_goes_and_work_for_the_mailbox_stays(database: Database) -> None:
    with database.write() as conn:
        team = make_team(conn)
        (one,) = deliver(conn, team.mailbox, 1, folder=team.inbox)
        lock = lock_mailbox(conn, team.mailbox)
        add_note(lock, RowSeal(None), one, team.claire, "Rappeler", now=NOW)
        for account in (team.claire, team.paul):
            conn.execute(
                insert(seen_by_person).values(
                    entry_id=1, account_id=account, mailbox_id=team.mailbox, seen=True, modseq=1
                )
            )
        close_account(conn, "claire", "départ", now=NOW)
        assert len(forget_closed(conn, NOW + DAY)) == 1
        assert conn.scalars(select(seen_by_person.c.account_id)).all() == [team.paul]
        (note,) = list_notes(conn, RowSeal(None), team.mailbox, [one])
    assert (note.text, note.account_id) == ("Rappeler", team.claire)
