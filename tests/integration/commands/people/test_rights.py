"""Commands on rights, by the Unix user and by accounts that prove themselves (DOMAIN §9.36)."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from mailstore.accounts.accounts import add_account, get_account
from mailstore.accounts.kinds import AccountKind
from mailstore.accounts.tenants import add_tenant
from mailstore.db.database import Database
from mailstore.db.schema import mailboxes
from tests.support.clock import NOW
from tests.support.machines.daemon import REASON, RESPONSIBLE, Daemon, lay_out
from tests.support.people import administrators

ORG = "cardiologie@a.mssante.fr"
PER = "claire.martin@a.mssante.fr"
LOGINS = ("chef", "ide.petit", "aide")


@pytest.fixture(scope="module")
def operator_a(tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    daemon = lay_out(tmp_path_factory.mktemp("rights") / "a", "a")
    with (
        closing(Database(daemon.folder / "data" / "mssante.db")) as database,
        database.write() as conn,
    ):
        clinic = add_tenant(conn, "clinique", now=NOW)
        for login, tenant in (*((one, 1) for one in LOGINS), ("abroad", clinic.id)):
            add_account(conn, tenant, login, AccountKind.PERSON, family_name=login, now=NOW)
    administrators.seat(daemon, *LOGINS, "abroad")
    return daemon


@pytest.fixture
def as_(
    operator_a: Daemon, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], tuple[str, ...]]]:
    administrators.hash_cheaply(monkeypatch)
    with closing(Database(operator_a.folder / "data" / "mssante.db")) as database:
        yield partial(administrators.both, operator_a, database)


def audit(daemon: Daemon) -> list[dict[str, Any]]:
    """Newest audit row first, of the first chain: nothing else writes."""
    with closing(sqlite3.connect(daemon.folder / "data" / "mssante.db")) as conn:
        conn.row_factory = sqlite3.Row
        return [dict(row) for row in conn.execute("SELECT * FROM audit_rows ORDER BY seq DESC")]


def test_a_grant_is_given_listed_and_ended_with_its_audit_rows(operator_a: Daemon) -> None:
    run, box = operator_a.run, "greffe@a.mssante.fr"
    run("mailbox", "add", box, "--type", "ORG", "--finess", "2A0000154", *RESPONSIBLE)
    said = run(
        *("grant", "give", box, "--account", "ide.petit", "--right", "read", "--right", "act"),
        *("--until", "2099-12-31"),
    )
    number = said.split(":")[0].removeprefix("grant ")
    row = audit(operator_a)[0]
    assert (row["event"], row["mailbox"], row["subject"]) == ("grant.given", box, "ide.petit")
    assert row["account"] is None
    assert row["unix_user"]
    assert json.loads(row["facts"])["rights"] == "act read"
    (listed,) = json.loads(run("grant", "list", "--mailbox", box, "--json"))
    assert (listed["to"], listed["rights"]) == ("ide.petit", "read act")
    assert listed["ends_at"] == "2100-01-01T00:00:00+00:00"  # the last day is in it
    assert "has the grant" in run(
        "grant", "give", box, "--account", "ide.petit", "--right", "read", code=1
    )
    run("grant", "end", number)
    assert audit(operator_a)[0]["event"] == "grant.ended"
    assert json.loads(run("grant", "list", "--mailbox", box, "--json")) == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--account", "nobody", "--right", "read"), "there is no account nobody"),
        (("--account", "abroad", "--right", "read"), "belongs to another tenant"),
        (("--account", "chef", "--right", "act"), "act needs read too"),
        (("--account", "chef", "--right", "read", "--until", "2001-01-01"), "before it begins"),
    ],
)
def test_grants_that_are_refused(operator_a: Daemon, words: tuple[str, ...], text: str) -> None:
    before = len(audit(operator_a))
    assert text in operator_a.run("grant", "give", ORG, *words, code=1)
    # A rule that nobody may cross leaves a row, whoever tries; a mistake leaves none.
    rows = audit(operator_a)[: len(audit(operator_a)) - before]
    told = [(row["event"], row["mailbox"], row["tenant_id"], row["result"]) for row in rows]
    assert told == [("act.refused", ORG, 1, "refused")] * ("another tenant" in text)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--right read", "give either --account or --group"),
        ("--account chef --group bloc --right read", "give either --account or --group"),
        ("--account chef --right read --until soon", "'soon' is not a day"),
        ("--account chef --right read --until 2099-01-31T12:00", "has no time zone"),
        ("--account chef --right read --code 123456", "--code and --password-file go with --as"),
    ],
)
def test_wrong_usage(operator_a: Daemon, words: str, why: str) -> None:
    assert why in operator_a.run("grant", "give", ORG, *words.split(), code=2)


def test_a_recovery_code_is_no_argument(
    operator_a: Daemon, as_: Callable[[str], tuple[str, ...]]
) -> None:
    """Every user of the machine can read arguments."""
    give = ("grant", "give", ORG, "--account", "aide", "--right", "read", *as_("chef"))
    said = operator_a.run(*give, "--code", "k3f7-q2hz-9wab-cdef", code=2)
    assert "second line of --password-file" in said


def test_an_account_needs_its_password_and_a_right(
    operator_a: Daemon, as_: Callable[[str], tuple[str, ...]]
) -> None:
    give = ("grant", "give", ORG, "--account", "aide", "--right", "read")
    wrong = operator_a.folder / "wrong"
    wrong.write_text("not the password 1")
    said = operator_a.run(*give, "--as", "chef", "--password-file", str(wrong), code=1)
    assert "log-in refused" in said
    row = audit(operator_a)[0]
    assert (row["event"], row["subject"], row["result"]) == (
        "account.login_refused",
        "chef",
        "refused",
    )
    assert "chef may not manage" in operator_a.run(*give, *as_("chef"), code=1)
    row = audit(operator_a)[0]
    assert (row["event"], row["account"], row["result"]) == ("act.refused", "chef", "refused")
    assert (row["mailbox"], row["tenant_id"]) == (ORG, 1)
    operator_a.run("role", "give", "chef", "manager", "--domain", "a.mssante.fr")
    operator_a.run(*give, *as_("chef"))
    row = audit(operator_a)[0]
    assert (row["event"], row["account"]) == ("grant.given", "chef")
    # A manager of mailboxes neither gives roles nor gets content, not even by a grant of its own.
    for mailbox, to in ((ORG, "chef"), (PER, "chef"), (PER, "ide.petit")):
        words = ("grant", "give", mailbox, "--account", to, "--right", "read")
        assert "gives content to nobody" in operator_a.run(*words, *as_("chef"), code=1)
        row = audit(operator_a)[0]
        assert (row["event"], row["mailbox"]) == ("act.refused", mailbox)
    team = operator_a.folder / "team"
    team.write_text("chef\n")
    said = operator_a.run("team", "begin", ORG, str(team), *as_("chef"), code=1)
    assert "gives content to nobody" in said
    assert "no role" in operator_a.run("role", "give", "aide", "manager", *as_("chef"), code=1)
    refused = ("break-glass", "open", ORG, "--reason", "x", *as_("chef"))
    assert "may not open an access to the content of" in operator_a.run(*refused, code=1)


def test_an_account_of_another_tenant_reaches_nothing(
    operator_a: Daemon, as_: Callable[[str], tuple[str, ...]]
) -> None:
    operator_a.run("role", "give", "abroad", "operator", "--tenant", "clinique")
    for words in (
        ("grant", "give", ORG, "--account", "abroad", "--right", "read"),
        ("break-glass", "open", ORG, "--reason", "x"),
        ("team", "end", ORG),
        ("role", "give", "chef", "helpdesk", "--domain", "a.mssante.fr"),
        ("role", "give", "chef", "helpdesk"),
    ):
        operator_a.run(*words, *as_("abroad"), code=1)
        assert audit(operator_a)[0]["event"] == "act.refused", words


def test_break_glass_by_two_persons(
    operator_a: Daemon, as_: Callable[[str], tuple[str, ...]]
) -> None:
    config = operator_a.config.read_text()
    operator_a.config.write_text(config + "\n[rights]\nbreak_glass_persons = 2\n")
    try:
        said = operator_a.run("break-glass", "open", ORG, "--reason", "Réquisition 12")
        number = said.split()[1]
        assert "waits for another person" in said
        (listed,) = json.loads(operator_a.run("break-glass", "list", "--json"))
        assert (listed["state"], listed["reason"]) == ("waits", "Réquisition 12")
        operator_a.run("role", "give", "aide", "auditor")
        # The account is another one, but the Unix user who asked holds the keyboard.
        assert "another person" in operator_a.run(
            "break-glass", "agree", number, *as_("aide"), code=1
        )
        row = audit(operator_a)[0]
        assert (row["event"], row["account"], row["mailbox"]) == ("act.refused", "aide", ORG)
        operator_a.run("break-glass", "end", number)
        assert json.loads(operator_a.run("break-glass", "list", "--json")) == []
    finally:
        operator_a.config.write_text(config)


def test_a_team_moves_all_or_nothing(operator_a: Daemon, tmp_path: Path) -> None:
    members = tmp_path / "members"
    members.write_text("chef\nnobody\nabroad\n")
    said = operator_a.run("team", "begin", ORG, str(members), code=1)
    assert "line 2: there is no account nobody" in said
    assert "line 3: abroad belongs to another tenant" in said
    assert audit(operator_a)[0]["event"] == "act.refused"
    given = json.loads(operator_a.run("grant", "list", "--account", "chef", "--json"))
    assert given == []
    members.write_text("chef\nide.petit\n")
    operator_a.run("team", "begin", ORG.upper(), str(members))
    # However the address was typed: a search finds the act.
    found = {row["event"]: (row["mailbox"], row["tenant_id"]) for row in audit(operator_a)[:3]}
    assert found == {"team.begun": (ORG, 1), "grant.given": (ORG, 1)}
    absent = json.loads(operator_a.run("team", "absent", ORG, "--json"))
    # Nobody has logged in since; others may have grants by other tests.
    assert {"chef", "ide.petit"} <= {one["login"] for one in absent}
    assert "teams share ORG and CAB" in operator_a.run("team", "begin", PER, str(members), code=1)
    operator_a.run("team", "end", ORG)
    assert audit(operator_a)[0]["event"] == "team.ended"


def test_reports(operator_a: Daemon, as_: Callable[[str], tuple[str, ...]]) -> None:
    operator_a.run(
        "role", "give", "chef", "helpdesk", *as_("chef"), code=1
    )  # logged in all the same
    assert "MAILBOX" in operator_a.run("report", "unreadable", "--tenant", "clinique")
    rows = json.loads(operator_a.run("report", "unused", "--days", "1", "--json"))
    assert "ide.petit" in {one["login"] for one in rows}
    left = json.loads(operator_a.run("report", "departure", "chef", "--json"))
    assert left["holds"] == []
    assert "there is no account x" in operator_a.run("report", "departure", "x", code=1)
    with (
        closing(Database(operator_a.folder / "data" / "mssante.db")) as database,
        database.read() as conn,
    ):
        assert get_account(conn, "chef").last_login_at is not None


SHARED = "le mot de passe de la cardiologie"


def test_a_team_keeps_its_shared_password_for_a_time(operator_a: Daemon, tmp_path: Path) -> None:
    """From the file of its first line to the erasure of its hash; no argument holds it."""
    run = operator_a.run
    members, shared, wrong = (tmp_path / name for name in ("members", "shared", "wrong"))
    shared.write_text(f"{SHARED}\n")
    wrong.write_text("le mot de passe du hall\n")
    members.write_text("sans.grant\n")
    run("account", "add", "sans.grant", "--family-name", "Petit", "--given-name", "Anne")
    begin = ("team", "begin", ORG, str(members))
    assert "give either" in run(
        *begin, "--shared-password", "--shared-password-file", str(shared), code=2
    )
    weak = tmp_path / "weak"
    weak.write_text("cardio\n")
    assert "12 to 256" in run(*begin, "--shared-password-file", str(weak), code=1)
    said = run(*begin, "--shared-password-file", str(shared))
    assert f"log-in name {ORG}" in said
    row = audit(operator_a)[0]
    assert (row["event"], json.loads(row["facts"])["shared"]) == ("team.begun", True)
    as_team = ("--as", ORG, "--password-file")
    assert "log-in refused" in run("message", "export", ORG, *as_team, str(wrong), code=1)
    row = audit(operator_a)[0]
    assert (row["event"], row["mailbox"], row["subject"], row["result"]) == (
        *("account.login_refused", ORG, None, "refused"),
    )
    run("message", "export", ORG, *as_team, str(shared))
    exported, used = audit(operator_a)[:2]
    assert (used["event"], used["account"]) == ("team.shared_password_used", None)
    assert (exported["event"], exported["account"]) == ("mailbox.exported", None)
    assert json.loads(exported["facts"])["shared_password"] is True
    # Another mailbox, grants and roles are none of its business.
    for words in (
        ("message", "export", PER, *as_team, str(shared)),
        ("grant", "give", ORG, "--account", "aide", "--right", "send", *as_team, str(shared)),
        ("role", "give", "chef", "helpdesk", *as_team, str(shared)),
        ("break-glass", "open", ORG, "--reason", "x", *as_team, str(shared)),
    ):
        run(*words, code=1)
        row = audit(operator_a)[0]
        facts = json.loads(row["facts"])
        assert (row["event"], facts["shared_password"]) == ("act.refused", True)
        assert facts["why"].startswith("the shared password of a team ")
    assert "last used: 20" in run("team", "absent", ORG)
    used_at = json.loads(run("mailbox", "show", ORG, "--json"))["last_login_at"]
    assert used_at is not None
    run("team", "end", ORG)
    assert "log-in refused" in run("message", "export", ORG, *as_team, str(shared), code=1)
    assert SHARED not in "".join(json.dumps(row, default=str) for row in audit(operator_a))


def test_a_deleted_mailbox_loses_all_that_opens_it(operator_a: Daemon, tmp_path: Path) -> None:
    run, box = operator_a.run, "partie@a.mssante.fr"
    run(*("mailbox", "add", box, "--type", "ORG", "--finess", "2A0000154"), *RESPONSIBLE)
    run("grant", "give", box, "--account", "aide", "--right", "read")
    run("break-glass", "open", box, "--reason", "x", "--silent")
    members = tmp_path / "members"
    members.write_text("chef\n")
    run("team", "begin", box, str(members))
    said = run("mailbox", "delete", box, "--yes", *REASON)
    assert "ended for good: 2 grants, 1 team moves, 1 break glass" in said
    facts = json.loads(audit(operator_a)[0]["facts"])
    assert [facts[name] for name in ("grants", "credentials", "team_moves", "break_glass")] == [
        *(2, 0, 1, 1),
    ]
    listed = ("grant", "list", "--mailbox", box, "--json")
    assert json.loads(run(*listed)) == []
    give = ("grant", "give", box, "--account", "aide", "--right", "read")
    assert "is deleted: restore it first" in run(*give, code=1)
    said = run("mailbox", "restore", box, *REASON)
    assert f"mssante grant list --mailbox {box} --all" in said
    assert json.loads(run(*listed)) == []
    run(*give)
    run("mailbox", "suspend", box, *REASON)
    run("mailbox", "resume", box)
    assert len(json.loads(run(*listed))) == 1  # a suspended mailbox keeps its rights
    run("mailbox", "close", box, "--yes", *REASON)
    assert len(json.loads(run(*listed))) == 1


def test_unused_mailboxes_are_listed_and_kept(operator_a: Daemon) -> None:
    """DOMAIN U1.2: the notices are made known, and a holder may object."""
    run = operator_a.run
    with (
        closing(Database(operator_a.folder / "data" / "mssante.db")) as database,
        database.write() as conn,
    ):
        conn.execute(
            update(mailboxes)
            .where(mailboxes.c.address == PER)
            .values(created_at=NOW - timedelta(days=4000), last_login_at=None)
        )
    (row,) = json.loads(run("report", "unused", "--mailboxes", "--json"))
    assert (row["mailbox"], row["next_step"], row["warnings"]) == (PER, "warn", 0)
    assert row["due"] < f"{NOW:%Y-%m-%d}"
    run("mailbox", "keep", PER, "--until", "2099-12-31", "--reason", "congé parental")
    row = audit(operator_a)[0]
    assert (row["event"], row["mailbox"]) == ("mailbox.kept", PER)
    (row,) = json.loads(run("report", "unused", "--mailboxes", "--json"))
    assert (row["due"], row["kept_reason"]) == ("2100-01-01T00:00:00+00:00", "congé parental")
    assert "NEXT STEP" in run("report", "unused", "--mailboxes", "--tenant", "operator")
    assert "is past" in run("mailbox", "keep", PER, "--until", "2001-01-01", *REASON, code=1)
    assert "due" in json.loads(run("report", "unused", "--days", "1", "--json"))[0]
