"""Messages moved, flagged, deleted and restored from the command line."""

import json

import pytest
from sqlalchemy import func, select

from mailstore.audit.trail import AuditTrail
from mailstore.audit_reading.search import AuditFilter, search
from mailstore.db.folder_schema import mailbox_state
from mailstore.db.schema import entries
from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.rights.grants import Grantee, give
from mailstore.rights.model import Period, Right
from tests.support.clock import NOW
from tests.support.machines.daemon import command
from tests.support.machines.mail_desk import BOX, Desk
from tests.support.people import administrators, house

SECRET_NAME = "Myxoedeme"
WHY = ("--reason", "test")


def test_a_message_goes_to_a_folder_to_trash_and_back(desk: Desk) -> None:
    other, one = desk.send(), desk.send()
    assert desk.change("move", one, "Archive") == f"{one} is in Archive\n"
    assert desk.place(one)[0] == "Archive"
    row = desk.newest()
    assert (row.event, row.mailbox, row.message) == ("message.moved", BOX, one)
    assert {"source": "INBOX", "target": "Archive"}.items() <= row.facts.items()
    assert desk.change("delete", one) == f"{one} is in Trash\n"
    assert desk.newest().event == "message.deleted"
    assert desk.ids("--folder", "trash") == [one]
    assert "is in this folder already" in desk.change("delete", one, code=1)
    assert desk.change("restore", one) == f"{one} is in INBOX\n"
    assert desk.newest().event == "message.restored"
    assert "the message is not in Trash" in desk.change("restore", one, code=1)
    assert desk.ids("--folder", "INBOX") == [one, other]
    desk.change("delete", other)
    desk.change("restore", other, "--folder", "Archive")
    assert desk.place(other)[0] == "Archive"
    (place,) = json.loads(desk.run("message", "show", other, "--json"))["places"]
    assert (place["folder"], place["uid"]) == ("Archive", 2)
    assert f"{BOX} Archive (UID 2)" in desk.run("message", "show", other)


def test_for_good_is_for_good(desk: Desk) -> None:
    one, other = desk.send(), desk.send()
    code, _, said = command(
        "--config",
        str(desk.daemon.config),
        "message",
        "delete",
        one,
        "--mailbox",
        BOX,
        "--for-good",
    )
    assert (code, "say so with --yes" in said) == (2, True)
    assert "--yes goes with --for-good" in desk.change("delete", one, "--yes", code=2)
    assert desk.ids() == [other, one]
    desk.change("delete", one, "--for-good", "--yes")
    row = desk.newest()
    assert (row.event, row.message, row.facts["for_good"]) == ("message.deleted", one, True)
    assert desk.ids() == [other]
    assert f"there is no message {one}" in desk.run("message", "show", one, code=1)
    assert "there is no message" in desk.change("restore", one, code=1)


def test_flags_are_set_and_taken_away(desk: Desk) -> None:
    one, other = desk.send(), desk.send()
    said = desk.change("flag", one, "--add", "seen", "--add", "flagged", "--add", SECRET_NAME)
    assert said == f"{one} has the flags: seen, flagged, (keyword)\n"
    row = desk.newest()
    assert (row.event, row.facts["added"]) == ("message.flagged", "seen flagged (keyword)")
    assert desk.place(one) == ("INBOX", ["seen", "flagged", "(keyword)"])
    assert desk.place(one, "--subjects", *WHY)[1] == ["seen", "flagged", SECRET_NAME]
    assert desk.ids("--unseen") == [other]
    assert desk.ids("--flagged") == [one]
    desk.change("flag", one, "--remove", "seen", "--remove", SECRET_NAME.lower(), "--add", "draft")
    assert desk.place(one) == ("INBOX", ["flagged", "draft"])
    assert desk.ids("--unseen", "--flagged") == [one]
    (inbox,) = (row for row in desk.counters()["folders"] if row["folder"] == "INBOX")
    assert (inbox["messages"], inbox["unseen"]) == (2, 2)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("flag", "--add", "\\Urgent"), 1, "flags are seen, answered, flagged, deleted, draft"),
        (("flag", "--add", "très"), 1, "a keyword has letters"),
        (("flag",), 2, "give --add or --remove"),
        (("flag", "--add", "seen", "--remove", "Seen"), 2, "in --add and in --remove"),
        (("flag", "--add", "seen", "--remove", "\\Seen"), 2, "in --add and in --remove"),
        (("move", SECRET_NAME), 1, "no folder of this name; every mailbox has INBOX, Sent"),
        (("move", "INBOX"), 1, "is in this folder already"),
        (("move", "Sent", "--in", "Junk"), 1, "in this folder"),
    ],
)
def test_wrong_words_change_nothing(
    desk: Desk, words: tuple[str, ...], code: int, says: str
) -> None:
    one = desk.send()
    verb, *rest = words
    said = desk.change(verb, one, *rest, code=code)
    assert says in said
    assert SECRET_NAME not in said
    assert desk.place(one) == ("INBOX", [])
    with desk.database.read() as conn:
        assert [row.event for row in search(conn, AuditFilter(), limit=9)] == []


def test_a_message_of_another_mailbox_is_not_found(desk: Desk) -> None:
    one = desk.send()
    said = desk.run("message", "move", one, "Sent", "--mailbox", house.APP, code=1)
    assert said == f"mssante: there is no message {one} in the mailbox {house.APP}\n"
    assert "there is no mailbox" in desk.run(
        "message", "delete", one, "--mailbox", "no@chu.mssante.fr", code=1
    )
    assert desk.ids() == [one]


def test_a_message_in_several_folders_is_named_with_its_folder(desk: Desk) -> None:
    one = desk.send()
    desk.change("flag", one, "--add", "seen")
    desk.copy(one, "Archive")
    assert "name one with --in" in desk.change("delete", one, code=1)
    desk.change("delete", one, "--in", "Archive")
    assert sorted(row["folder"] for row in desk.rows()) == ["INBOX", "Trash"]
    desk.change("delete", one, "--in", "Trash", "--for-good", "--yes")
    assert desk.place(one) == ("INBOX", ["seen"])
    assert "Subject: x" in desk.run("message", "show", one, "--content", *WHY)


class TestRights:
    def test_a_member_with_the_right_to_act_changes_and_a_reader_does_not(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        administrators.hash_cheaply(monkeypatch)
        with desk.database.write() as conn:
            box = get_mailbox(conn, BOX).id
            for login, rights in (
                ("ide.petit", {Right.READ, Right.ACT}),
                ("sec.durand", {Right.READ}),
            ):
                to = Grantee(desk.home.accounts[login], login, 1)
                give(conn, box, 1, to, frozenset(rights), Period(NOW), given_by="root")
        administrators.seat(desk.daemon, "ide.petit", "sec.durand")
        one = desk.send()

        def by(login: str) -> tuple[str, ...]:
            return administrators.both(desk.daemon, desk.database, login)

        for verb, *words in (("move", "Sent"), ("flag", "--add", "seen"), ("delete",)):
            assert "sec.durand may not act cardio@chu.mssante.fr: no" in desk.change(
                verb, one, *words, *by("sec.durand"), code=1
            )
            row = desk.newest()
            assert (row.event, row.account, row.mailbox) == ("act.refused", "sec.durand", BOX)
        with desk.database.read() as conn:
            assert conn.scalar(select(func.count()).select_from(mailbox_state)) == 0
        assert desk.ids("--subject", "x", *by("sec.durand")) == [one]
        desk.change("move", one, "Sent", *by("ide.petit"))
        row = desk.newest()
        assert (row.event, row.account) == ("message.moved", "ide.petit")
        assert desk.place(one)[0] == "Sent"
        assert "--reason and --as go with" in desk.run(
            "message", "list", BOX, *by("ide.petit"), code=2
        )

    def test_a_change_without_its_audit_row_is_none(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one = desk.send()
        desk.change("flag", one, "--add", "seen")
        before = desk.newest()

        def fail(*_: object) -> None:
            raise OSError("no room")

        monkeypatch.setattr(AuditTrail, "append", fail)
        assert "no room" in desk.change("delete", one, "--for-good", "--yes", code=1)
        monkeypatch.undo()
        assert desk.place(one) == ("INBOX", ["seen"])
        assert desk.newest() == before
        with desk.database.read() as conn:
            assert conn.scalar(select(func.count()).select_from(entries)) == 1
