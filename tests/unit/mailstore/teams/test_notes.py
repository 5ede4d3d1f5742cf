"""Notes are sealed, and stay where their author put them."""

from pathlib import Path

import pytest
from sqlalchemy import update

from mailstore.db.database import Database
from mailstore.db.team_schema import message_notes
from mailstore.errors import InvalidNote, InvalidState, NotFound
from mailstore.folders.lock import lock_mailbox
from mailstore.sealed.keyring import Keyring, make_first, rotate
from mailstore.sealed.row_seal import RowSeal
from mailstore.teams import notes
from mailstore.teams.notes import LONGEST_TEXT, add_note, list_notes, note_author, remove_note
from mailstore.teams.resealing import reseal_notes
from tests.support.clock import NOW
from tests.support.people.teams import Team, message_id, modseqs

ONE, TWO = message_id(1), message_id(2)
TEXT = "Rappeler le laboratoire\nrésultat d’hémoculture"


@pytest.fixture
def seal(tmp_path: Path) -> RowSeal:
    make_first(tmp_path / "keys", NOW)
    return RowSeal(Keyring(tmp_path / "keys"))


def added(database: Database, team: Team, seal: RowSeal, text: str = TEXT) -> int:
    with database.write() as conn:
        lock = lock_mailbox(conn, team.mailbox)
        return add_note(lock, seal, ONE, team.claire, text, now=NOW).id


def stored(database: Database) -> list[bytes | None]:
    with database.read() as conn:
        return [row.text for row in conn.execute(message_notes.select().order_by("id"))]


def texts(database: Database, team: Team, seal: RowSeal) -> list[str | None]:
    with database.read() as conn:
        return [one.text for one in list_notes(conn, seal, team.mailbox, [ONE, TWO])]


def test_notes_are_listed_oldest_first_and_sealed(
    database: Database, team: Team, seal: RowSeal
) -> None:
    first = added(database, team, seal)
    added(database, team, seal, "  Deuxième \n")
    with database.read() as conn:
        found = list_notes(conn, seal, team.mailbox, [ONE, TWO])
        assert list_notes(conn, seal, team.mailbox, [TWO]) == []
    assert [(one.text, one.account_id) for one in found] == [
        (TEXT, team.claire),
        ("Deuxième", team.claire),
    ]
    assert (found[0].id, found[0].written_at, found[0].removed_at) == (first, NOW, None)
    assert modseqs(database, ONE) == (found[1].modseq,) * 3
    for octets in stored(database):
        assert octets is not None
        assert b"Rappeler" not in octets
        assert b"Deux" not in octets


def test_a_removed_note_keeps_its_author_and_loses_its_text(
    database: Database, team: Team, seal: RowSeal
) -> None:
    number = added(database, team, seal)
    with database.write() as conn:
        lock = lock_mailbox(conn, team.mailbox)
        assert note_author(lock, number) == (ONE, team.claire)
        remove_note(lock, number, now=NOW)
        with pytest.raises(NotFound):
            remove_note(lock, number, now=NOW)
        (found,) = list_notes(conn, seal, team.mailbox, [ONE])
    assert (found.text, found.removed_at, found.account_id) == (None, NOW, team.claire)
    assert stored(database) == [None]


@pytest.mark.parametrize(
    "moved", [{"message_id": TWO}, {"account_id": 4711}], ids=["message", "author"]
)
def test_a_note_moved_by_hand_is_not_shown_and_hides_no_other(
    database: Database, team: Team, seal: RowSeal, moved: dict[str, object]
) -> None:
    number = added(database, team, seal)
    added(database, team, seal, "Deuxième")
    with database.write() as conn:
        conn.execute(update(message_notes).where(message_notes.c.id == number).values(moved))
    assert texts(database, team, seal) == [None, "Deuxième"]
    assert reseal_notes(database, seal) == 0


@pytest.mark.parametrize("text", ["", " \n", "a\0b", "a\x1b[2J", "é" * (LONGEST_TEXT + 1)])
def test_a_text_that_is_none_or_too_long_is_refused(
    database: Database, team: Team, seal: RowSeal, text: str
) -> None:
    with pytest.raises(InvalidNote):
        added(database, team, seal, text)
    assert stored(database) == []


def test_a_message_has_no_endless_notes(
    database: Database, team: Team, seal: RowSeal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes, "MOST_NOTES", 2)
    added(database, team, seal)
    added(database, team, seal)
    with pytest.raises(InvalidState, match="at most"):
        added(database, team, seal)


def test_only_the_newest_key_is_needed_after_resealing(
    database: Database, team: Team, seal: RowSeal
) -> None:
    added(database, team, seal)
    with database.write() as conn:
        removed = add_note(
            lock_mailbox(conn, team.mailbox), seal, ONE, team.paul, "autre", now=NOW
        ).id
        remove_note(lock_mailbox(conn, team.mailbox), removed, now=NOW)
    keys = seal.keys
    assert keys is not None
    assert reseal_notes(database, seal) == 0
    rotate(keys.path, NOW)
    assert reseal_notes(database, seal) == 1
    assert reseal_notes(database, seal) == 0
    lines = keys.path.read_text().splitlines(keepends=True)
    keys.path.write_text("".join(line for line in lines if keys.newest.id.hex() in line))
    newest = Keyring(keys.path)
    assert len(newest.names) == 1
    assert texts(database, team, RowSeal(newest)) == [TEXT, None]


def test_a_note_whose_key_is_missing_stays_and_the_rest_is_resealed(
    database: Database, team: Team, seal: RowSeal, tmp_path: Path
) -> None:
    make_first(tmp_path / "others", NOW)
    added(database, team, RowSeal(Keyring(tmp_path / "others")))
    added(database, team, RowSeal(None), "Deuxième")
    assert texts(database, team, seal) == [None, "Deuxième"]
    assert reseal_notes(database, seal) == 1
    assert texts(database, team, seal) == [None, "Deuxième"]
