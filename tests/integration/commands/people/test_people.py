"""Commands on tenants, accounts, identifiers, groups and credentials (DOMAIN §9.36, §U3)."""

import io
import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyotp
import pytest
from sqlalchemy import select

from mailstore.credentials.totp import STEP
from mailstore.db.audit_schema import audit_rows
from mailstore.db.team_schema import message_notes
from mailstore.folders.lock import lock_mailbox
from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.messages.messages import LocalDelivery, Message, NewMessage, store_messages
from mailstore.sealed.row_seal import RowSeal
from mailstore.teams.notes import add_note, list_notes
from mssante_operator.assembly.storage import open_store
from mssante_operator.cli.people import credential
from mssante_operator.settings.model import load
from tests.support.clock import NOW
from tests.support.delivery.queue_commands import journal_files
from tests.support.machines.daemon import MSSANTE, Daemon, lay_out

RPPS, OTHER_RPPS = "10000001916", "10000005479"
PASSWORD = "quatre mots assez longs"
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
CLAIRE = "claire.martin@a.mssante.fr"
NOTED = Message("1" * 32, "x@b.mssante.fr", "0" * 64, 10, "", "local", "s", NOW)

Type = Callable[..., None]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Type:
    """Put lines on standard input."""

    def put(*lines: str) -> None:
        octets = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(octets)))

    return put


@pytest.fixture(scope="module")
def operator_a(tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    daemon = lay_out(tmp_path_factory.mktemp("a"), "a")
    text = daemon.config.read_text()
    daemon.config.write_text(text + '\n[credentials]\napp_passwords = ["PER"]\n')
    return daemon


def trail(daemon: Daemon) -> list[dict[str, Any]]:
    """Audit rows, oldest first."""
    with closing(open_store(load(daemon.config))) as store, store.database.read() as conn:
        rows = conn.execute(select(audit_rows).order_by(audit_rows.c.chain, audit_rows.c.seq))
        return [dict(row) for row in rows.mappings()]


def listed(daemon: Daemon, *words: str) -> Any:
    return json.loads(daemon.run(*words, "--json"))


def step() -> int:
    return int(time.time()) // STEP


def test_a_customer_s_people_from_first_to_last(operator_q: Daemon) -> None:
    """The story of a tenant, on both databases; each act has its row in the audit trail."""
    run = operator_q.run
    run("tenant", "add", "CHU-Lyon", "--title", "CHU de Lyon")
    run("domain", "add", "chu.mssante.fr")
    assert run("tenant", "take", "chu-lyon", "CHU.mssante.fr") == (
        "chu.mssante.fr belongs to chu-lyon\n"
    )
    run("domain", "add", "bloc.mssante.fr", "--tenant", "chu-lyon")
    owners = {one["name"]: one["tenant"] for one in listed(operator_q, "domain", "list")}
    assert owners == {"bloc.mssante.fr": "chu-lyon", "chu.mssante.fr": "chu-lyon"}
    assert "no tenant x" in run("domain", "add", "x.mssante.fr", "--tenant", "x", code=1)
    in_chu = ("--tenant", "chu-lyon")
    names = ("--family-name", "Martin", "--given-name", "Claire")
    assert run("account", "add", "Claire", *names, "--rpps", RPPS, *in_chu) == "added claire\n"
    run("account", "add", "pfi", "--family-name", "PFI du CHU", "--software", *in_chu)
    shown = listed(operator_q, "account", "show", "CLAIRE")
    assert (shown["tenant"], shown["name"], shown["identifiers"]) == (
        "chu-lyon",
        "Claire Martin",
        [f"RPPS {RPPS}"],
    )
    run(
        "account", "identifier", "add", "claire", "--rpps", OTHER_RPPS, "--replaces", f"rpps:{RPPS}"
    )
    run("account", "identifier", "add", "claire", "--psi", "0b1f6d5e-9d0f")
    run("account", "identifier", "end", "claire", "--psi", "0b1f6d5e-9d0f")
    assert listed(operator_q, "account", "find", "--rpps", OTHER_RPPS, *in_chu)["login"] == "claire"
    said = run("account", "find", "--rpps", RPPS, *in_chu, code=1)
    assert said == f"Error: no account of the tenant chu-lyon has RPPS {RPPS}\n"
    run("account", "group", "add", "bloc", *in_chu)
    run("account", "group", "member", "add", "bloc", "claire", *in_chu)
    members = listed(operator_q, "account", "group", "member", "list", "bloc", *in_chu)
    assert [one["login"] for one in members] == ["claire"]
    run("account", "group", "member", "remove", "bloc", "claire", *in_chu)
    run("account", "group", "member", "add", "bloc", "claire", *in_chu)
    assert listed(operator_q, "account", "show", "claire")["groups"] == ["bloc"]
    run("account", "rename", "claire", "--family-name", "Durand")
    run("account", "suspend", "claire", "--reason", "soupçon")
    run("account", "resume", "claire")
    run("credential", "add", "oidc", "claire", "https://idp.test", "42", "--name", "CHU")
    run("credential", "add", "certificate", "pfi", "CN=pfi.fr, O=CHU", "--name", "PFI")
    assert run("account", "close", "claire", "--reason", "départ", "--yes") == (
        "claire is closed; ended: 1 credentials, 0 grants\n"
    )
    (revoked,) = listed(operator_q, "credential", "list", "claire", "--all")
    assert (revoked["state"], revoked["opens"]) == ("revoked", "https://idp.test 42")
    (left,) = listed(operator_q, "credential", "list", "pfi")
    assert left["opens"] == "CN=pfi.fr,O=CHU"
    run("credential", "revoke", "pfi", str(left["number"]))
    run("account", "group", "remove", "bloc", *in_chu)
    run("tenant", "rename", "chu-lyon", "--to", "hcl")
    found = listed(operator_q, "tenant", "show", "hcl")
    assert (found["title"], found["domains"], found["accounts"]) == ("CHU de Lyon", 2, 2)
    rows = [row for row in trail(operator_q) if row["event"] != "domain.added"]
    assert [row["event"] for row in rows] == [
        *("tenant.added", "domain.moved", "account.added", "account.added"),
        *("identifier.added", "identifier.added", "identifier.ended"),
        *("group.added", "member.added", "member.removed", "member.added"),
        *("account.renamed", "account.suspended", "account.resumed"),
        *("credential.added", "credential.added", "account.closed"),
        *("credential.revoked", "group.removed", "tenant.renamed"),
    ]
    assert len({row["tenant_id"] for row in rows}) == 1
    subjects = [row["subject"] for row in rows if row["event"].startswith("account.")]
    assert subjects == ["claire", "pfi", "claire", "claire", "claire", "claire"]
    closed = next(json.loads(row["facts"]) for row in rows if row["event"] == "account.closed")
    assert closed == {"reason": "départ", "credentials": 1, "grants": 0, "assignments": 0}


def test_nothing_is_changed_by_what_is_refused(operator_a: Daemon) -> None:
    run = operator_a.run
    run("account", "add", "paul", "--family-name", "Paul")
    before = len(trail(operator_a))
    for words, code, says in (
        (("account", "add", "paul", "--family-name", "x"), 1, "the log-in name paul is taken"),
        (("account", "add", "x", "--family-name", "x", "--rpps", "1"), 1, "expected 11 digits"),
        (("account", "add", "x", "--family-name", "x", "--tenant", "y"), 1, "no tenant y"),
        (("account", "add", "x", "--family-name", "x", "--software", "--rpps", RPPS), 1, "program"),
        (("account", "close", "paul", "--reason", "x"), 2, "say so with --yes"),
        (("account", "suspend", "paul"), 2, "Missing option '--reason'"),
        (("account", "rename", "paul"), 2, "give --family-name, --given-name, or both"),
        (("account", "identifier", "add", "paul"), 2, "give one of --rpps"),
        (("account", "identifier", "end", "paul", "--rpps", RPPS), 1, "has not the identifier"),
        (("account", "show", "nobody"), 1, "there is no account nobody"),
        (("account", "group", "remove", "nothing"), 1, "there is no group nothing"),
        (("credential", "revoke", "paul", "99"), 1, "no credential of number 99"),
        (("credential", "add", "certificate", "paul", "x", "--name", "x"), 2, "TYPE=VALUE"),
        (("credential", "add", "oidc", "paul", "http://x", "1", "--name", "x"), 1, "https://"),
        (("tenant", "add", "CHU de Lyon"), 1, "such as chu-lyon"),
        (("tenant", "rename", "operator"), 2, "give --to, --title, or both"),
    ):
        assert says in run(*words, code=code), words
    assert len(trail(operator_a)) == before


def test_pages(operator_a: Daemon) -> None:
    for login in ("page.c", "page.a", "page.b"):
        operator_a.run("account", "add", login, "--family-name", "x")
    found = operator_a.run("account", "list", "--after", "page.", "--limit", "2")
    assert found.splitlines()[1].startswith("page.a")
    assert found.endswith("there may be more: --after page.b\n")
    assert listed(operator_a, "account", "list", "--after", "page.b")[0]["login"] == "page.c"
    assert listed(operator_a, "account", "list", "--state", "closed") == []


def test_secrets_are_typed_and_shown_nowhere_else_domain_9_36(
    operator_a: Daemon, typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DOMAIN §9.36: two factors, and an app password only after both."""
    run = operator_a.run
    monkeypatch.setattr(credential, "new_secret", lambda: SECRET)
    otp = pyotp.TOTP(SECRET)
    run("account", "add", "claire", "--family-name", "Martin", "--rpps", RPPS)
    typed("trop court")
    assert "give 12 to 256" in run("credential", "add", "password", "claire", code=1)
    typed()
    said = run("credential", "add", "password", "claire", code=2)
    assert "nothing on standard input" in said
    typed("mot de passe \udce9t\udce9 long")
    assert "not UTF-8" in run("credential", "add", "password", "claire", code=1)
    typed(PASSWORD)
    assert run("credential", "add", "password", "claire") == "claire has a new password\n"
    typed("000000")
    assert "compare the clocks" in run("credential", "add", "totp", "claire", code=1)
    used = step()
    typed(otp.generate_otp(used))
    said = run("credential", "add", "totp", "claire")
    assert f"otpauth://totp/smtp.a.mssante.fr:claire?secret={SECRET}" in said
    codes = run("credential", "add", "recovery", "claire").splitlines()[:10]
    give = ("credential", "add", "app-password", "claire", CLAIRE, "--name", "bloc")
    ask = (*give, "--protocol", "imap", "--days", "30")
    typed(PASSWORD, otp.generate_otp(used))
    assert "log-in refused" in run(*ask, code=1)  # this code was used
    typed(PASSWORD, otp.generate_otp(used + 1))
    said = run(*ask)
    assert said.startswith("mssa-")
    typed(PASSWORD, codes[0])
    run(*ask)
    typed(PASSWORD, codes[0])
    assert "log-in refused" in run(*ask, code=1)
    typed(PASSWORD, codes[1])
    other = ("credential", "add", "app-password", "claire", "cardiologie@a.mssante.fr")
    said_no = run(*other, "--name", "x", "--protocol", "imap", code=1)
    assert "claire may not read cardiologie@a.mssante.fr" in said_no
    rows = listed(operator_a, "credential", "list", "claire")
    kinds = [row["kind"] for row in rows]
    assert kinds == ["password", "totp", *["recovery"] * 8, *["app_password"] * 2]
    assert rows[-1]["opens"] == f"{CLAIRE} by imap"
    secrets = [PASSWORD, SECRET, said.split()[0], *codes]
    kept = "".join(path.read_text() for path in journal_files(operator_a))
    kept += str(trail(operator_a)) + str(rows) + run("account", "export", "claire")
    for secret in secrets:
        assert secret not in kept
        assert secret.replace("-", "") not in kept
    refusals = [row for row in trail(operator_a) if row["event"] == "account.login_refused"]
    assert [(row["result"], row["subject"]) for row in refusals] == [("refused", "claire")] * 2
    assert "wrong" in refusals[0]["facts"]


def test_app_passwords_are_off_unless_switched_on(tmp_path: Path, typed: Type) -> None:
    daemon = lay_out(tmp_path / "a", "a")
    daemon.run("account", "add", "claire", "--family-name", "Martin", "--rpps", RPPS)
    typed(PASSWORD)
    daemon.run("credential", "add", "password", "claire")
    code, second = daemon.run("credential", "add", "recovery", "claire").split()[:2]
    typed(PASSWORD, code)
    ask = ("credential", "add", "app-password", "claire", CLAIRE, "--name", "x")
    said = daemon.run(*ask, "--protocol", "imap", code=1)
    assert "app passwords are off for PER mailboxes" in said
    row = trail(daemon)[-1]
    assert (row["event"], row["account"], row["mailbox"]) == ("act.refused", "claire", CLAIRE)
    # A recovery code is a secret: a line of the file, never an argument.
    secrets = tmp_path / "secrets"
    secrets.write_text(f"{PASSWORD}\n{second}\n")
    give = ("grant", "give", CLAIRE, "--account", "claire", "--right", "read")
    daemon.run(*give, "--as", "claire", "--password-file", str(secrets))
    assert trail(daemon)[-1]["account"] == "claire"
    left = json.loads(daemon.run("credential", "list", "claire", "--json"))
    assert [one["kind"] for one in left] == ["password", *["recovery"] * 8]


def test_a_password_is_typed_twice_on_a_terminal(operator_a: Daemon) -> None:
    operator_a.run("account", "add", "terminal", "--family-name", "x")
    leader, follower = pty.openpty()
    words = ("--config", str(operator_a.config), "credential", "add", "password", "terminal")
    with subprocess.Popen(
        (*MSSANTE, *words), stdin=follower, stdout=follower, stderr=follower
    ) as it:
        os.close(follower)
        shown = b""
        while it.poll() is None or shown.count(b"\n") < 1:
            try:
                shown += os.read(leader, 1000)
            except OSError:
                break
            if shown.endswith(b": "):
                os.write(leader, PASSWORD.encode() + b"\n")
                shown += b"|"
        assert it.wait() == 0
    os.close(leader)
    assert b"Repeat" in shown
    assert PASSWORD.encode() not in shown
    assert b"terminal has a new password" in shown


def test_keys_can_go_after_a_rewrite(tmp_path: Path, typed: Type) -> None:
    daemon = lay_out(tmp_path / "a", "a")
    daemon.config.write_text(
        daemon.config.read_text() + '\n[credentials]\napp_passwords = ["PER"]\n'
    )
    daemon.run("account", "add", "claire", "--family-name", "Martin", "--rpps", RPPS)
    typed(PASSWORD)
    daemon.run("credential", "add", "password", "claire")
    code = daemon.run("credential", "add", "recovery", "claire").split()[0]
    daemon.run("keys", "rotate", "--rewrite")
    with closing(open_store(load(daemon.config))) as store:
        keys = store.blobs.blob_format.keys
        assert keys is not None
        newest, path = keys.newest.id.hex(), keys.path
    path.write_text("".join(x for x in path.read_text().splitlines(keepends=True) if newest in x))
    typed(PASSWORD, code)
    ask = ("credential", "add", "app-password", "claire", CLAIRE, "--name", "x")
    assert daemon.run(*ask, "--protocol", "imap").startswith("mssa-")


def test_notes_are_sealed_anew_by_a_rewrite(tmp_path: Path) -> None:
    daemon = lay_out(tmp_path / "a", "a")
    with closing(open_store(load(daemon.config))) as store, store.database.write() as conn:
        seal = RowSeal(store.blobs.blob_format.keys)
        box = get_mailbox(conn, CLAIRE).id
        store_messages(conn, [NewMessage(NOTED, (LocalDelivery(box, CLAIRE),))], now=NOW)
        add_note(lock_mailbox(conn, box), seal, NOTED.id, 1, "Rappeler", now=NOW)
    daemon.run("keys", "rotate", "--rewrite")
    with closing(open_store(load(daemon.config))) as store, store.database.read() as conn:
        seal = RowSeal(store.blobs.blob_format.keys)
        (sealed,) = conn.scalars(select(message_notes.c.text))
        assert seal.is_newest(sealed)
        assert [one.text for one in list_notes(conn, seal, box, [NOTED.id])] == ["Rappeler"]


def test_a_table_is_added_whole_or_not_at_all(operator_q: Daemon, tmp_path: Path) -> None:
    table = tmp_path / "personnes.csv"
    head = "login;family_name;given_name;rpps\r\n"
    table.write_text(f"\ufeff{head}nadia;Benali;Nadia;{RPPS}\r\nnoé;Petit;Noé;\r\n", newline="")
    said = operator_q.run("account", "import", str(table), code=1)
    assert "line 2: nadia: not added, as other lines are wrong\nline 3: noé: 'noé' is not" in said
    assert said.endswith("Error: 1 of 2 lines are wrong: nothing is added\n")
    table.write_text(f"{head}nadia;Benali;Nadia;{RPPS}\nnoe;Petit;Noé;\n")
    said = operator_q.run("account", "import", str(table), "--dry-run")
    assert said == (
        "line 2: nadia: would be added\nline 3: noe: would be added\n2 accounts would be added\n"
    )
    assert listed(operator_q, "account", "list") == []
    assert trail(operator_q) == []
    assert operator_q.run("account", "import", str(table)).endswith("2 accounts added\n")
    assert [one["name"] for one in listed(operator_q, "account", "list")] == [
        "Nadia Benali",
        "Noé Petit",
    ]
    rows = [(row["event"], row["subject"]) for row in trail(operator_q)]
    assert rows == [("account.added", "nadia"), ("account.added", "noe")]
    table.write_text("name\nx\n")
    said = operator_q.run("account", "import", str(table), code=1)
    assert "the column 'name' is not known" in said
