"""Messages listed by facts and by content, from the command line."""

import json

from sqlalchemy import func, select

from mailstore.db.folder_schema import folder_messages, mailbox_state
from tests.support.machines.daemon import command
from tests.support.machines.mail_desk import BOX, Desk
from tests.support.people import house

SECRET_NAME = "Myxoedeme"
WHY = ("--reason", "test")


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
