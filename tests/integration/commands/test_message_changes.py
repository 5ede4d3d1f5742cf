"""Messages in folders from the command line: list, move, flag, delete, restore; and folders."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import func, select

from mailstore.audit.trail import AuditTrail
from mailstore.audit_reading.search import AuditFilter, FoundRow, search
from mailstore.db.database import Database
from mailstore.db.folder_schema import folder_messages, folders, mailbox_state
from mailstore.db.schema import entries
from mailstore.mail.view import open_mailbox
from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.rights.grants import Grantee, give
from mailstore.rights.model import Period, Right
from mssante_operator.assembly.clock import utc_now
from mssante_operator.assembly.storage import row_seal
from tests.support.clock import NOW
from tests.support.machines.daemon import Daemon, command
from tests.support.people import administrators, house

BOX = house.ORG
SECRET_NAME = "Myxoedeme"
WHY = ("--reason", "test")


@dataclass(frozen=True)
class Desk:
    """An operator on one of the databases, with a mailbox that gets mail."""

    daemon: Daemon
    database: Database
    home: house.House

    def run(self, *words: str, code: int = 0) -> str:
        return self.daemon.run(*words, code=code)

    def send(self, subject: str = "x", text: str = "text", sender: str = house.PER) -> str:
        """Deliver a message to the mailbox; its id."""
        letter = self.daemon.folder / "letter.eml"
        letter.write_text(f"From: <{sender}>\nSubject: {subject}\n\n{text}\n")
        said = self.run("message", "send", str(letter), "--from", sender, "--to", BOX)
        return said.split()[2].rstrip(":")

    def change(self, verb: str, message_id: str, *words: str, code: int = 0) -> str:
        return self.run("message", verb, message_id, "--mailbox", BOX, *words, code=code)

    def rows(self, *words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("message", "list", BOX, *words, "--json"))
        return found

    def ids(self, *words: str) -> list[str]:
        return [row["id"] for row in self.rows(*words)]

    def place(self, message_id: str, *words: str) -> tuple[str, list[str]]:
        """Folder and flags of a message, as listed."""
        (row,) = (row for row in self.rows(*words) if row["id"] == message_id)
        return row["folder"], row["flags"]

    def counters(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(self.run("mailbox", "show", BOX, "--json"))
        return found

    def newest(self) -> FoundRow:
        with self.database.read() as conn:
            (row,) = search(conn, AuditFilter(), limit=1)
        return row

    def copy(self, message_id: str, folder: str) -> None:
        """Copy a message within the mailbox, as a client does."""
        with self.daemon.store() as store:
            with store.database.read() as conn:
                owner = get_mailbox(conn, BOX).id
            view = open_mailbox(store, owner, row_seal(store), utc_now)
            target = next(one for one in view.folders() if one.name == folder)
            (held,) = view.find([message_id])
            view.copy(held.folder_id, [held.uid], target.id)


@pytest.fixture
def desk(operator_q: Daemon, database: Database) -> Desk:
    with database.write() as conn:
        home = house.build(conn)
    return Desk(operator_q, database, home)


def test_a_list_of_facts_places_nothing(desk: Desk) -> None:
    sent = [desk.send() for _ in range(3)]
    assert desk.ids() == sent[::-1]
    assert {(row["folder"], row["uid"], *row["flags"]) for row in desk.rows()} == {("INBOX", None)}
    assert desk.ids("--folder", "inbox", "--unseen") == sent[::-1]
    assert desk.ids("--folder", "Trash") == []
    assert json.loads(desk.run("message", "show", sent[0], "--json"))["places"] == [
        {"mailbox": BOX, "folder": "INBOX", "uid": None, "flags": []}
    ]
    shown = desk.counters()
    assert (shown["messages"], shown["new_messages"], shown["folders"]) == (3, 3, [])
    with desk.database.read() as conn:
        assert conn.scalar(select(func.count()).select_from(mailbox_state)) == 0
        assert conn.scalar(select(func.count()).select_from(folder_messages)) == 0


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


def test_facts_filter_a_list(desk: Desk) -> None:
    small, large = desk.send(), desk.send(text=f"{'x' * 99}\n" * 200, sender=house.CAB)
    assert desk.ids("--sender", "CABINET@") == [large]
    assert desk.ids("--sender", "%") == []
    assert desk.ids("--larger", "10K") == [large]
    assert desk.ids("--smaller", "10K") == [small]
    assert desk.ids("--since", "2000-01-01", "--until", "2001-01-01") == []
    assert desk.ids("--since", "2000-01-01") == [large, small]
    assert "--since" in desk.run(
        "message", "list", BOX, "--since", "2001-01-01", "--until", "2000-01-01", code=2
    )
    assert "empty value" in desk.run("message", "list", BOX, "--sender", " ", code=2)


def test_pages_of_a_folder_count_what_is_in_it(desk: Desk) -> None:
    sent = [desk.send() for _ in range(5)]
    for one in sent[:4]:
        desk.change("move", one, "Archive")
    words = ("--config", str(desk.daemon.config), "message", "list", BOX, "--folder", "Archive")
    code, out, said = command(*words, "--limit", "2", "--json")
    page = json.loads(out)
    assert (code, [row["id"] for row in page]) == (0, [sent[3], sent[2]])
    assert said == f"2 more, older: --before {page[-1]['entry']}\n"
    assert desk.ids("--folder", "Archive", "--before", str(page[-1]["entry"])) == [
        sent[1],
        sent[0],
    ]


def test_content_filters_need_the_right_to_content(desk: Desk) -> None:
    one, other = desk.send(f"Bilan {SECRET_NAME}"), desk.send("Autre", f"le {SECRET_NAME} est là")
    for words in (("--subject", SECRET_NAME), ("--from", "martin"), ("--text", SECRET_NAME)):
        said = desk.run("message", "list", BOX, *words, code=1)
        assert "give --reason, or open an access" in said
        assert desk.newest().event == "act.refused"
    assert desk.ids("--subject", SECRET_NAME.lower(), *WHY) == [one]
    row = desk.newest()
    assert (row.event, row.mailbox) == ("mailbox.searched", BOX)
    assert SECRET_NAME.lower() not in repr(row).lower()
    assert desk.ids("--text", SECRET_NAME, *WHY) == [other, one]
    assert desk.ids("--from", "DR.MARTIN", "--subject", "autre", *WHY) == [other]
    assert desk.ids("--text", SECRET_NAME, "--folder", "Trash", *WHY) == []
    desk.change("delete", other)
    assert desk.ids("--text", SECRET_NAME, "--folder", "Trash", *WHY) == [other]
    assert desk.ids("--subject", "none such", *WHY) == []


def test_names_that_people_gave_are_content(desk: Desk) -> None:
    one = desk.send()
    for path in (SECRET_NAME, f"{SECRET_NAME}/2026"):
        desk.run("mailbox", "folder", "add", BOX, path)
    desk.change("move", one, f"{SECRET_NAME}/2026")
    assert "(folder " in str(desk.newest().facts["target"])
    for words in (
        ("message", "list", BOX),
        ("message", "show", one),
        ("mailbox", "show", BOX),
        ("mailbox", "folder", "list", BOX),
    ):
        said = desk.run(*words)
        assert "(folder " in said
        assert SECRET_NAME not in said
    with desk.database.read() as conn:
        assert all(SECRET_NAME not in repr(row) for row in search(conn, AuditFilter(), limit=100))
        assert all(
            SECRET_NAME.encode() not in name for name in conn.scalars(select(folders.c.name))
        )
    assert "give --reason" in desk.run("message", "list", BOX, "--folder", SECRET_NAME, code=1)
    assert "give --reason" in desk.run("mailbox", "folder", "list", BOX, "--names", code=1)
    listed = json.loads(desk.run("mailbox", "folder", "list", BOX, "--names", *WHY, "--json"))
    assert [row["folder"] for row in listed][-2:] == [SECRET_NAME, f"{SECRET_NAME}/2026"]
    assert (desk.newest().event, listed[-1]["messages"]) == ("mailbox.folders_read", 1)
    assert desk.place(one, "--folder", f"{SECRET_NAME}/2026", *WHY)[0] == f"{SECRET_NAME}/2026"


def test_folders_are_renamed_and_removed(desk: Desk) -> None:
    one = desk.send()
    desk.run("mailbox", "folder", "add", BOX, "Projets")
    desk.run("mailbox", "folder", "add", BOX, "Projets/2026")
    desk.change("move", one, "Projets/2026")
    for words, says in (
        (("add", BOX, "Projets"), "a folder of this name is there already"),
        (("add", BOX, "trash"), "a special folder has this name"),
        (("add", BOX, "Nulle/part"), "no folder of this name"),
        (("remove", BOX, "Trash", "--yes"), "cannot be removed"),
        (("remove", BOX, "Projets", "--yes"), "folders in it"),
        (("rename", BOX, "Projets", "Projets/2026/x"), "cannot be moved into itself"),
    ):
        assert says in desk.run("mailbox", "folder", *words, code=1)
    desk.run("mailbox", "folder", "rename", BOX, "Projets/2026", "Anciens")
    assert desk.newest().event == "folder.renamed"
    assert desk.place(one, "--subjects", *WHY)[0] == "Anciens"
    said = desk.run("mailbox", "folder", "remove", BOX, "Anciens", "--yes")
    assert said == "removed Anciens, with 1 messages\n"
    assert (desk.newest().event, desk.newest().facts["messages"]) == ("folder.removed", 1)
    assert desk.ids() == []


def test_counters_and_the_share_of_the_quota(desk: Desk) -> None:
    desk.run("mailbox", "quota", BOX, "1M")
    read = desk.send()
    desk.change("flag", read, "--add", "seen")
    desk.send(text=f"{'x' * 99}\n" * 3_000)
    shown = desk.counters()
    assert (shown["messages"], shown["new_messages"]) == (2, 1)
    assert shown["folders"][0] | {"octets": 0} == {
        "folder": "INBOX",
        "messages": 1,
        "unseen": 0,
        "octets": 0,
    }
    assert shown["used"] - shown["folders"][0]["octets"] > 300_000
    assert shown["quota_percent"] == round(100 * shown["used"] / 2**20, 1)
    assert "INBOX 1 (0 unseen, " in desk.run("mailbox", "show", BOX)


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
