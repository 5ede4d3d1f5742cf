"""Content of mailboxes: for holders, by grants, and by break-glass access (DOMAIN U1.2)."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import delete

from mailstore.accounts.accounts import add_account
from mailstore.accounts.identifiers import add_identifier
from mailstore.accounts.kinds import AccountKind
from mailstore.accounts.person_identifiers import PersonIdentifier
from mailstore.db.database import Database
from mailstore.db.people_schema import break_glass
from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.rights.grants import Grantee, give
from mailstore.rights.model import Period, Right
from tests.support.clock import NOW
from tests.support.machines.daemon import RESPONSIBLE, Daemon, lay_out, served
from tests.support.people import administrators
from tests.support.waiting import until_now

MARTIN = "claire.martin@a.mssante.fr"
ORG = "cardiologie@a.mssante.fr"
WORD = "myxoedeme"
LETTER = (
    f"From: <{MARTIN}>\r\nSubject: {WORD}\r\nDate: Sun, 29 Nov 2026 10:00:00 +0100\r\n"
    f"Message-ID: <1@a.mssante.fr>\r\n\r\ntext {WORD}\r\n"
).encode()
As = Callable[[str], tuple[str, ...]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    """Operator with a message from a holder to an ORG mailbox, and three accounts."""
    daemon = lay_out(tmp_path_factory.mktemp("content") / "a", "a")
    with (
        closing(Database(daemon.folder / "data" / "mssante.db")) as database,
        database.write() as conn,
    ):
        for login in ("dr.martin", "ide.petit", "admin"):
            account = add_account(conn, 1, login, AccountKind.PERSON, family_name=login, now=NOW)
            if login == "dr.martin":
                held = get_mailbox(conn, MARTIN).identifier
                number = PersonIdentifier.parse(held.kind.value, held.value)
                add_identifier(conn, login, number, now=NOW)
            if login == "ide.petit":
                box, read = get_mailbox(conn, ORG), frozenset({Right.READ})
                to = Grantee(account.id, login, 1)
                give(conn, box.id, 1, to, read, Period(NOW), given_by="root")
    administrators.seat(daemon, "admin")
    administrators.seat(daemon, "dr.martin", "ide.petit", totp=False)
    letter = daemon.folder / "letter.eml"
    letter.write_bytes(LETTER)
    daemon.run("message", "send", str(letter), "--from", MARTIN, "--to", ORG, "--to", MARTIN)
    return daemon


@pytest.fixture
def operator_a(installed: Daemon) -> Daemon:
    """The operator without the accesses that other tests opened."""
    path = installed.folder / "data" / "mssante.db"
    with closing(Database(path)) as database, database.write() as conn:
        conn.execute(delete(break_glass))
    return installed


@pytest.fixture
def as_(operator_a: Daemon, monkeypatch: pytest.MonkeyPatch) -> Iterator[As]:
    administrators.hash_cheaply(monkeypatch)
    with closing(Database(operator_a.folder / "data" / "mssante.db")) as database:

        def words(login: str) -> tuple[str, ...]:
            if login == "admin":
                return administrators.both(operator_a, database, login)
            return administrators.alone(operator_a, login)

        yield words


def message(daemon: Daemon, mailbox: str) -> str:
    *_, first = json.loads(daemon.run("message", "list", mailbox, "--json"))
    return str(first["id"])


def audit(daemon: Daemon) -> list[dict[str, Any]]:
    """Audit rows, newest first."""
    with closing(sqlite3.connect(daemon.folder / "data" / "mssante.db")) as conn:
        conn.row_factory = sqlite3.Row
        return [dict(row) for row in conn.execute("SELECT * FROM audit_rows ORDER BY seq DESC")]


def test_without_a_reason_the_unix_user_reads_nothing(operator_a: Daemon) -> None:
    number, before = message(operator_a, ORG), len(audit(operator_a))
    for words in (
        ("message", "show", number, "--content"),
        ("message", "export", ORG),
        ("message", "list", ORG, "--subjects"),
    ):
        said = operator_a.run(*words, code=1)
        assert "give --reason, or open an access" in said
        assert WORD not in said
    # Who tried is in the trail, and where.
    tried = audit(operator_a)[: len(audit(operator_a)) - before]
    assert [(row["event"], row["mailbox"]) for row in tried] == [("act.refused", ORG)] * 3


def test_with_a_reason_each_reading_is_audited_and_the_holder_will_be_told(
    operator_a: Daemon,
) -> None:
    number = message(operator_a, ORG)
    reason = ("--reason", "Réquisition 12")
    assert WORD in operator_a.run("message", "show", number, "--content", *reason)
    asked, read = (audit(operator_a)[n] for n in (1, 0))
    assert (asked["event"], asked["mailbox"]) == ("break_glass.asked", ORG)
    assert json.loads(asked["facts"])["reason"] == "Réquisition 12"
    assert (read["event"], read["mailbox"], read["message"]) == ("message.read", ORG, number)
    # The access is open for an hour: no other reason is needed, each reading is audited.
    # However the address is typed: a search finds the act.
    assert WORD in operator_a.run("message", "export", ORG.title())
    assert (audit(operator_a)[0]["event"], audit(operator_a)[0]["mailbox"]) == (
        "mailbox.exported",
        ORG,
    )
    assert WORD in operator_a.run("message", "list", ORG, "--subjects")
    assert audit(operator_a)[0]["event"] == "mailbox.subjects_read"
    (listed,) = json.loads(operator_a.run("break-glass", "list", "--json"))
    assert (listed["mailbox"], listed["holder_told_at"]) == (ORG, None)
    assert WORD not in repr(audit(operator_a))


def test_a_holder_and_a_member_read_without_a_break_glass_access(
    operator_a: Daemon, as_: As
) -> None:
    assert WORD in operator_a.run("message", "export", MARTIN, *as_("dr.martin"))
    row = audit(operator_a)[0]
    assert (row["event"], row["account"], row["mailbox"]) == (
        "mailbox.exported",
        "dr.martin",
        MARTIN,
    )
    # One factor is not enough for an ORG mailbox (DOMAIN §9.36), even with a grant.
    said = operator_a.run("message", "export", ORG, *as_("ide.petit"), code=1)
    assert "may not open an access to the content of" in said
    assert WORD not in said


def test_an_account_without_a_right_reads_nothing(operator_a: Daemon, as_: As) -> None:
    reason = ("--reason", "curiosity")
    said = operator_a.run("message", "export", MARTIN, *reason, *as_("admin"), code=1)
    assert "may not open an access to the content of" in said
    assert audit(operator_a)[0]["event"] == "act.refused"
    operator_a.run("role", "give", "admin", "operator", "--domain", "a.mssante.fr")
    said = operator_a.run("message", "export", MARTIN, *as_("admin"), code=1)
    assert "give --reason" in said
    assert WORD in operator_a.run("message", "export", MARTIN, *reason, *as_("admin"))
    row = audit(operator_a)[0]
    assert (row["event"], row["account"]) == ("mailbox.exported", "admin")


def test_two_persons_where_the_operator_wants_two(operator_a: Daemon) -> None:
    config = operator_a.config.read_text()
    operator_a.config.write_text(config + "\n[rights]\nbreak_glass_persons = 2\n")
    try:
        said = operator_a.run("message", "export", MARTIN, "--reason", "x", code=1)
        assert "open an access with: mssante break-glass open" in said
    finally:
        operator_a.config.write_text(config)


def test_a_reason_without_content_is_wrong_usage(operator_a: Daemon) -> None:
    number = message(operator_a, ORG)
    said = operator_a.run("message", "show", number, "--reason", "x", code=2)
    assert "--reason and --as go with --content" in said
    said = operator_a.run("message", "list", ORG, "--reason", "x", code=2)
    assert "--reason and --as go with --subjects" in said


def test_a_message_to_an_alias_is_its_mailboxs(operator_a: Daemon) -> None:
    """Its holder is the mailbox, not the sender, and the trail names it as it is compared."""
    run = operator_a.run
    run("mailbox", "add", "Dr.Leroy@a.mssante.fr", "--type", "PER", "--rpps", "10000005479")
    run("mailbox", "alias", "add", "dr.leroy@a.mssante.fr", "ancien@a.mssante.fr")
    letter = str(operator_a.folder / "letter.eml")
    run("message", "send", letter, "--from", MARTIN, "--to", "ancien@a.mssante.fr")
    number = message(operator_a, "dr.leroy@a.mssante.fr")
    assert WORD in run("message", "show", number, "--content", "--reason", "Plainte 3")
    assert audit(operator_a)[0]["mailbox"] == "dr.leroy@a.mssante.fr"
    assert WORD in run("message", "export", "DR.Leroy@a.mssante.fr")
    assert audit(operator_a)[0]["mailbox"] == "dr.leroy@a.mssante.fr"


def test_the_daemon_tells_the_holders(operator_a: Daemon) -> None:
    """An access opened while the daemon was down is told of at its start."""
    operator_a.run("message", "list", ORG, "--subjects", "--reason", "Plainte 4")
    with served(operator_a):
        until_now(
            lambda: all(
                one["holder_told_at"]
                for one in json.loads(operator_a.run("break-glass", "list", "--json"))
            )
        )
    said = operator_a.run("message", "export", ORG)
    assert "Accès d'un administrateur" in said or "=?utf-8?" in said


def last_log_in(daemon: Daemon, mailbox: str) -> object:
    return json.loads(daemon.run("mailbox", "show", mailbox, "--json"))["last_login_at"]


def test_a_mailbox_opened_by_right_is_in_use_and_one_read_by_an_administrator_is_not(
    operator_a: Daemon, as_: As
) -> None:
    """DOMAIN U1.2: the last log-in of a mailbox, by its holder or a delegate."""
    unused = "unused@a.mssante.fr"
    operator_a.run("mailbox", "add", unused, "--type", "ORG", "--finess", "2A0000154", *RESPONSIBLE)
    operator_a.run("message", "export", unused, "--reason", "Réquisition 12")
    assert last_log_in(operator_a, unused) is None
    rights = ("--account", "ide.petit", "--right", "read")
    operator_a.run("grant", "give", unused, *rights)
    config = operator_a.config.read_text()
    operator_a.config.write_text(f"{config}\n[rights]\ntwo_factors = []\n")
    try:
        operator_a.run("message", "export", unused, *as_("ide.petit"))
    finally:
        operator_a.config.write_text(config)
    assert last_log_in(operator_a, unused) is not None


def test_a_sending_limit_leaves_one_audit_row(operator_a: Daemon) -> None:
    config, letter = operator_a.config.read_text(), str(operator_a.folder / "letter.eml")
    # Of recipients, which does not depend on what this hour has seen.
    operator_a.config.write_text(f"{config}\n[sending.per]\nrecipients = 1\n")
    to = ("--to", ORG, "--to", MARTIN)
    try:
        operator_a.run("message", "send", letter, "--from", MARTIN, *to, code=1)
    finally:
        operator_a.config.write_text(config)
    limited = ("audit", "search", "--event", "submission.limited", "--json")
    (row,) = json.loads(operator_a.run(*limited))
    assert (row["mailbox"], row["result"], row["account"]) == (MARTIN, "refused", None)
    assert row["unix_user"]
