"""Notes of the last log-in, of accounts and mailboxes."""

from dataclasses import replace
from datetime import timedelta

import pytest

from mailstore.accounts.accounts import get_account
from mailstore.credentials.log_in import LogIn
from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.rights import team_moves
from tests.support.clock import NOW
from tests.support.people.accounts import box, customer
from tests.support.people.log_ins import log_in


def test_a_note_that_fails_stops_nobody(
    door: LogIn, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof = log_in(door)

    def away(*_: object) -> None:
        raise StoreUnavailable("the database is away")

    monkeypatch.setattr(Database, "write", away)
    door.note(proof, None)
    monkeypatch.undo()
    door.note(proof, None)
    with database.read() as conn:
        assert get_account(conn, "claire").last_login_at == NOW


def test_the_first_log_in_after_a_team_began_to_move_is_noted(
    door: LogIn, database: Database
) -> None:
    """Notes are an hour apart; the report of a team's move must not miss a member for that."""
    with database.write() as conn:
        customer(conn, "chu", "chu.mssante.fr")
        mailbox = box(conn, "bloc@chu.mssante.fr", MailboxType.ORG)
    door.note(log_in(door), None)
    begun, came = NOW + timedelta(minutes=5), NOW + timedelta(minutes=10)
    with database.write() as conn:
        team_moves.begin_move(conn, mailbox.id, begun, begun + timedelta(days=1))
    for at in (came, came + timedelta(minutes=1)):  # the second one costs no write
        door.note(log_in(door, at=at), None)
        with database.read() as conn:
            assert get_account(conn, "claire").last_login_at == came


def test_an_opened_mailbox_is_noted_once_an_hour(door: LogIn, database: Database) -> None:
    """DOMAIN U1.2: the last log-in of a mailbox."""
    with database.write() as conn:
        customer(conn, "chu", "chu.mssante.fr")
        mailbox = box(conn, "claire@chu.mssante.fr")
    proof = log_in(door)
    noted = []
    for minutes in (0, 59, 61):
        at = NOW + timedelta(minutes=minutes)
        door.note(replace(proof, at=at), mailbox.id)
        with database.read() as conn:
            noted.append(get_mailbox(conn, mailbox.address).last_login_at)
    assert noted == [NOW, NOW, NOW + timedelta(minutes=61)]
