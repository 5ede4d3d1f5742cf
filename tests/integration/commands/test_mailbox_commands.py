"""Commands on mailboxes: attributes, aliases, deletion; each with its audit row (DOMAIN §9)."""

import json
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mailstore.db.database import Database
from mailstore.mailboxes.erasure import erase_batch
from mailstore.mailboxes.mailboxes import get_mailbox
from mssante_operator.assembly.clock import utc_now
from tests.support.audit.trails import rows
from tests.support.machines.daemon import REASON, RESPONSIBLE, Daemon, command, lay_out

BOX = "cardiologie@a.mssante.fr"
LABO = "noreply-biologie@a.mssante.fr"
CAB = "cabinet.durand@a.mssante.fr"
MARTIN = "claire.martin@a.mssante.fr"
CO_HOLDER = "10000001916"


@pytest.fixture(scope="module")
def operator_m(tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    return lay_out(tmp_path_factory.mktemp("m"), "a")


@pytest.fixture
def operator_a(tmp_path: Path) -> Daemon:
    return lay_out(tmp_path / "a", "a")


def shown(daemon: Daemon, address: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(daemon.run("mailbox", "show", address, "--json"))
    return found


def audited(daemon: Daemon) -> list[tuple[str, str | None, dict[str, Any]]]:
    """Event, mailbox and facts of each row of the audit trail."""
    with daemon.store() as store:
        return [
            (row["event"], row["mailbox"], json.loads(row["facts"])) for row in rows(store.database)
        ]


def test_attributes_are_changed_by_type_domain_9_38(operator_a: Daemon) -> None:
    """DOMAIN §9.33, §9.37, §9.38."""
    run = operator_a.run
    run("mailbox", "set", LABO, "--description", "Labo", "--service", "Biologie", "--no-reply")
    run("mailbox", "set", LABO, "--red-list", "--rank", "2", "--responsible", "Anne Petit")
    found = shown(operator_a, LABO)
    assert (found["description"], found["service"], found["responsible"]) == (
        *("Labo", "Biologie", "Anne Petit"),
    )
    assert (found["red_list"], found["rank"], found["no_reply"]) == (True, 2, True)
    run("mailbox", "set", LABO, "--service", "", "--rank", "0", "--replies", "--no-red-list")
    found = shown(operator_a, LABO)
    assert (found["service"], found["rank"], found["no_reply"], found["red_list"]) == (
        *(None, None, False, False),
    )
    run("mailbox", "set", CAB, "--holder", CO_HOLDER)
    assert shown(operator_a, CAB)["holders"] == [CO_HOLDER]
    run("mailbox", "set", CAB, "--no-holder", CO_HOLDER)
    assert shown(operator_a, CAB)["holders"] == []
    assert audited(operator_a)[0] == (
        "mailbox.changed",
        LABO,
        {
            "description": "Labo",
            "service": "Biologie",
            "no_reply": True,
            "holders": None,
            "holders_gone": None,
        },
    )
    assert [event for event, _, _ in audited(operator_a)] == ["mailbox.changed"] * 5


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("set", MARTIN, "--service", "x"), 1, "a PER mailbox has no service: only APP, ORG"),
        (("set", MARTIN, "--no-reply"), 1, "a PER mailbox has no no_reply: only APP"),
        (("set", MARTIN, "--holder", CO_HOLDER), 1, "a PER mailbox has no holders"),
        (("set", BOX, "--responsible", ""), 1, "needs a responsible person"),
        (("set", BOX, "--rank", "1000"), 2, "1000"),
        (("set", BOX), 2, "give what is to change"),
        (("set", BOX, "--phone", "1"), 2, "--phone"),
        (("set", CAB, "--holder", "10000001917"), 1, "the check digit (Luhn) is wrong"),
        (
            ("add", "x@a.mssante.fr", "--type", "ORG", "--finess", "750000002"),
            1,
            "needs a responsible person",
        ),
        (
            ("add", "x@a.mssante.fr", "--type", "ORG", "--rpps", "10000001916", "--finess", "1"),
            1,
            "9 digits",
        ),
        (
            ("add", "x@a.mssante.fr", "--type", "APP", "--finess", "750000002", "--siren", "1"),
            1,
            "9 digits",
        ),
        (
            ("add", "x@a.mssante.fr", "--type", "CAB", "--rpps", "10000005479",
             "--finess", "750000002"),
            2,
            "give one of",
        ),
        (("suspend", BOX), 2, "--reason"),
        (("close", BOX, "--yes"), 2, "--reason"),
        (("delete", BOX, "--yes"), 2, "--reason"),
        (("suspend", BOX, "--reason", " "), 1, "the reason is empty"),
        (("suspend", BOX, "--reason", "a\nb"), 1, "line end"),
        (("restore", BOX, *REASON), 1, "is not deleted"),
        (("delete", BOX, *REASON), 2, "say so with --yes"),
        (("alias", "add", BOX, MARTIN), 1, "is a mailbox, and no alias"),
        (("alias", "end", BOX, "x@a.mssante.fr"), 1, "has no alias"),
        (("alias", "add", BOX, "x@ a.mssante.fr"), 1, "has a blank after the @"),
        (("alias", "add", BOX, "x@a.mssante.fr", "--until", "2020-01-01"), 1, "in the past"),
    ],
)  # fmt: skip
def test_what_is_refused(operator_m: Daemon, words: tuple[str, ...], code: int, says: str) -> None:
    """DOMAIN §9.32, §9.36, §9.37, §9.38."""
    assert says in operator_m.run("mailbox", *words, code=code)
    assert audited(operator_m) == []


def test_a_per_mailbox_hangs_on_rpps_and_structure_domain_9_32(operator_a: Daemon) -> None:
    """DOMAIN §9.32."""
    operator_a.run(
        *("mailbox", "add", "x@a.mssante.fr", "--type", "PER"),
        *("--rpps", "10000005479", "--finess", "750000002"),
    )
    found = shown(operator_a, "x@a.mssante.fr")
    assert (found["identifier"], found["structure"]) == ("RPPS 10000005479", "FINESS 750000002")
    by_number = json.loads(
        operator_a.run("mailbox", "list", "--identifier", "10000005479", "--json")
    )
    assert [box["address"] for box in by_number] == [CAB, "x@a.mssante.fr"]


def test_long_texts_are_warned_of(operator_a: Daemon) -> None:
    said = operator_a.run("mailbox", "set", BOX, "--responsible", "x" * 46)
    assert "warning: responsible has 46 characters" in said


def test_lists_are_filtered_and_paged(operator_a: Daemon) -> None:
    operator_a.run("mailbox", "suspend", MARTIN, *REASON)

    def listed(*words: str) -> list[str]:
        return [
            box["address"]
            for box in json.loads(operator_a.run("mailbox", "list", "--json", *words))
        ]

    every = listed()
    assert len(every) == 4
    assert listed("--type", "ORG") == [BOX]
    assert listed("--state", "suspended") == [MARTIN]
    assert listed("--state", "deleted") == []
    assert listed("--without-responsible") == []
    assert listed("--limit", "3") == every[:3]
    assert listed("--after", every[0], "--limit", "2") == every[1:3]
    assert listed("--after", "Cardio") == every[1:]
    assert listed("--after", "zz") == []


def test_an_alias_receives_until_its_end(operator_a: Daemon) -> None:
    said = operator_a.run(
        "mailbox", "alias", "add", BOX, "Cœur@a.mssante.fr", "--until", "2099-12-31"
    )
    assert said == "added Cœur@a.mssante.fr, until 2100-01-01T00:00:00+00:00\n"
    assert shown(operator_a, BOX)["aliases"] == ["Cœur@a.mssante.fr"]
    (row,) = json.loads(operator_a.run("mailbox", "alias", "list", BOX, "--json"))
    assert (row["alias"], row["ends_at"]) == ("Cœur@a.mssante.fr", "2100-01-01T00:00:00+00:00")
    assert "is an alias of" in operator_a.run("mailbox", "show", "cœur@a.mssante.fr", code=1)
    operator_a.run("mailbox", "alias", "end", BOX, "cœur@a.mssante.fr")
    events = audited(operator_a)
    assert [(event, box) for event, box, _ in events] == [
        *(("alias.added", BOX), ("alias.ended", BOX)),
    ]
    assert events[0][2] == {"alias": "Cœur@a.mssante.fr", "ends_at": "2100-01-01T00:00:00+00:00"}


def test_deleting_restoring_and_removing_the_domain_domain_9_39(operator_a: Daemon) -> None:
    """DOMAIN §9.34, §9.39: what is deleted gives its address to nobody."""
    run, old = operator_a.run, "x@vieux.mssante.fr"
    said = run("domain", "add", "vieux.mssante.fr")
    # DOMAIN §9.34: the list ties this domain to nobody.
    assert "warning: the white list of " in said
    assert "does not list vieux.mssante.fr" in said
    said = run("mailbox", "add", old, "--type", "PER", "--rpps", "10000001916")
    assert "does not list vieux.mssante.fr" in said
    assert "warning" not in run(
        "mailbox", "add", "y@a.mssante.fr", "--type", "PER", "--rpps", "10000001916"
    )
    assert "has 1 mailboxes, as x@" in run("domain", "remove", "vieux.mssante.fr", code=1)
    run("mailbox", "delete", old, *REASON, "--grace-days", "0", "--yes")
    assert shown(operator_a, old)["state"] == "deleted"
    assert run("mailbox", "restore", old, *REASON).startswith(f"{old} is active\n")
    run("mailbox", "delete", old, *REASON, "--grace-days", "0", "--yes")
    run("domain", "remove", "vieux.mssante.fr", "--yes", code=1)
    with operator_a.store() as store:
        _erase(store.database, old)
    run("mailbox", "alias", "add", MARTIN, "alias@vieux.mssante.fr")
    assert "has 1 aliases" in run("domain", "remove", "vieux.mssante.fr", code=1)
    run("mailbox", "alias", "end", MARTIN, "alias@vieux.mssante.fr")
    assert "say so with --yes" in run("domain", "remove", "vieux.mssante.fr", code=2)
    assert run("domain", "remove", "vieux.mssante.fr", "--yes") == "removed vieux.mssante.fr\n"
    assert "vieux" not in run("domain", "list")
    assert "not hosted here" in run("domain", "remove", "vieux.mssante.fr", code=1)
    new = ("mailbox", "add", old, "--type", "PER", "--rpps", "10000001916")
    assert "not hosted" in run(*new, code=1)
    run("domain", "add", "vieux.mssante.fr")
    assert "exists already" in run(*new, code=1)
    again = run(
        *("mailbox", "add", "alias@vieux.mssante.fr", "--type", "PER", "--rpps", "10000001916"),
        code=1,
    )
    assert "is or was an alias" in again
    assert [event for event, _, _ in audited(operator_a)] == [
        *("domain.added", "mailbox.added", "mailbox.added", "mailbox.deleted"),
        *("mailbox.restored", "mailbox.deleted", "alias.added", "alias.ended"),
        *("domain.removed", "domain.added"),
    ]


def _erase(database: Database, address: str) -> None:
    later = utc_now() + timedelta(hours=2)
    with database.write() as connection:
        erase_batch(connection, get_mailbox(connection, address).id, later)


def test_a_domain_with_mail_in_the_queue_is_not_removed(operator_a: Daemon) -> None:
    run = operator_a.run
    run("domain", "add", "chu.mssante.fr")
    box = "x@chu.mssante.fr"
    run("mailbox", "add", box, "--type", "PER", "--rpps", "10000001916")
    letter = operator_a.folder / "letter.eml"
    letter.write_bytes(f"From: {box}\r\n\r\nx\r\n".encode())
    run("message", "send", str(letter), "--from", box, "--to", "dr@b.mssante.fr")
    run("mailbox", "delete", box, *REASON, "--yes", "--grace-days", "0")
    with operator_a.store() as store:
        _erase(store.database, box)
    said = run("domain", "remove", "chu.mssante.fr", "--yes", code=1)
    assert "1 deliveries from chu.mssante.fr are in the queue" in said


def test_without_a_white_list_the_domain_is_added_with_a_warning(operator_a: Daemon) -> None:
    for path in (operator_a.folder / "data" / "whitelist").iterdir():
        path.unlink()
    code, out, err = command("--config", str(operator_a.config), "domain", "add", "z.mssante.fr")
    assert (code, out) == (0, "added z.mssante.fr\n")
    assert "warning: there is no white list yet" in err


def test_an_org_mailbox_names_its_responsible_person_domain_9_36(operator_a: Daemon) -> None:
    """DOMAIN §9.36."""
    operator_a.run(
        *("mailbox", "add", "x@a.mssante.fr", "--type", "ORG", "--rpps", "10000001916"),
        *RESPONSIBLE,
    )
    assert shown(operator_a, "x@a.mssante.fr")["responsible"] == "Claire Martin"


CSV = (
    "\ufeffaddress;type;rpps;finess;responsible;description\r\n"
    "dr.un@a.mssante.fr;PER;10000001916;;;\r\n"
    "cardiologie@a.mssante.fr;;;;;Salle 3\r\n"
    "accueil@a.mssante.fr;ORG;;750000002;Anne Petit;\r\n"
)


def test_a_file_is_imported_whole_or_not_at_all(operator_a: Daemon, tmp_path: Path) -> None:
    """Creation and change, each line reported, all or nothing; DOMAIN §9.36."""
    file = tmp_path / "new.csv"
    file.write_text(CSV, encoding="utf-8", newline="")
    run = operator_a.run
    before = run("mailbox", "list")
    said = run("mailbox", "import", str(file), "--dry-run")
    assert "3 lines: 2 add, 1 change, 0 keep, 0 refuse; nothing is changed in a dry run" in said
    file.write_text(CSV.replace("Anne Petit", ""), encoding="utf-8", newline="")
    said = run("mailbox", "import", str(file), code=1)
    assert "3 lines: 1 add, 1 change, 0 keep, 1 refuse; nothing is changed" in said
    lines = [line.split(maxsplit=3) for line in said.splitlines() if line[:1].isdigit()]
    assert lines[0][:3] == ["2", "dr.un@a.mssante.fr", "add"]
    assert lines[2][2:] == [
        "refuse",
        "an ORG mailbox needs a responsible person: give the name as responsible",
    ]
    assert run("mailbox", "list") == before
    assert audited(operator_a) == []
    file.write_text(CSV, encoding="utf-8", newline="")
    run("mailbox", "import", str(file))
    assert shown(operator_a, BOX)["description"] == "Salle 3"
    assert [(event, box, facts["line"]) for event, box, facts in audited(operator_a)] == [
        ("mailbox.added", "dr.un@a.mssante.fr", 2),
        ("mailbox.changed", BOX, 3),
        ("mailbox.added", "accueil@a.mssante.fr", 4),
    ]
    assert audited(operator_a)[1][2] == {"description": "Salle 3", "line": 3}
    said = run("mailbox", "import", str(file))
    assert "3 lines: 0 add, 0 change, 3 keep, 0 refuse" in said
    assert len(audited(operator_a)) == 3
    rows = run("mailbox", "import", str(file), "--json")
    assert [row["action"] for row in json.loads(rows[: rows.rindex("]") + 1])] == ["keep"] * 3


def test_a_file_that_is_no_csv_is_one_line(operator_m: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_bytes(b"address;phone\n")
    said = operator_m.run("mailbox", "import", str(file), code=1)
    assert said.startswith("mssante: the column 'phone' is not known; known: address, type, rpps")
    assert said.count("\n") == 1


def test_the_reason_of_each_act_is_in_the_trail(operator_a: Daemon) -> None:
    """The row of the mailbox keeps the first reason; the trail has what was said each time."""
    for reason in ("congé", "congé prolongé"):
        operator_a.run("mailbox", "suspend", MARTIN, "--reason", reason)
    assert [facts["reason"] for _, _, facts in audited(operator_a)] == ["congé", "congé prolongé"]
    assert shown(operator_a, MARTIN)["state_reason"] == "congé"


ODD = (
    "address;type;rpps;finess;description;holders\n"
    "a@ a.mssante.fr;PER;10000001916;;;\n"
    "b@a.mssante.fr;PER;10000001916;;;\n"
    "B@A.mssante.fr;PER;10000001916;;;\n"
    "c@a.mssante.fr;PER;10000001916;\n"
    '=cmd|@a.mssante.fr;APP;;750000002;"=HYPERLINK(""x"")\x1b[2J";\n'
    "d@a.mssante.fr;APP;;750000002;=1+1;\n"
    "e@a.mssante.fr;CAB;10000005479;;;10000001916 10000001916\n"
)


def test_a_dry_run_says_what_the_run_does(operator_a: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "odd.csv"
    file.write_text(ODD, encoding="utf-8")
    run = operator_a.run
    dry = run("mailbox", "import", str(file), "--dry-run", code=1)
    assert dry == run("mailbox", "import", str(file), code=1)
    assert "7 lines: 3 add, 0 change, 0 keep, 4 refuse; nothing is changed" in dry
    assert "\x1b" not in dry
    good = [line for n, line in enumerate(ODD.splitlines()) if n in {0, 2, 6, 7}]
    file.write_text("\n".join(good), encoding="utf-8")
    dry = run("mailbox", "import", str(file), "--dry-run")
    assert dry.replace("; nothing is changed in a dry run", "") == run(
        "mailbox", "import", str(file)
    )


KILLED = """
import os, signal, sys
import mssante_operator.cli.mailboxes.importing as importing
from mssante_operator.cli.main import main

carry_out = importing.carry_out

def dying(*given):
    carry_out(*given)
    os.kill(os.getpid(), signal.SIGKILL)

importing.carry_out = dying
main(sys.argv[1:])
"""


def test_an_import_that_is_killed_has_not_been(operator_a: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text(CSV, encoding="utf-8", newline="")
    before = operator_a.run("mailbox", "list")
    words = ["--config", str(operator_a.config), "mailbox", "import", str(file)]
    done = subprocess.run([sys.executable, "-c", KILLED, *words], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert operator_a.run("mailbox", "list") == before
    assert audited(operator_a) == []
    assert "2 add, 1 change" in operator_a.run("mailbox", "import", str(file))
