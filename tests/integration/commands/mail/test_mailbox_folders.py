"""Folders of a mailbox and their counters, from the command line."""

import json

from sqlalchemy import select

from mailstore.audit_reading.search import AuditFilter, search
from mailstore.db.folder_schema import folders
from tests.support.machines.mail_desk import BOX, Desk

SECRET_NAME = "Myxoedeme"
WHY = ("--reason", "test")


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
