"""Command line from the view of a sysadmin: output, exit codes, one-line errors."""

import json
import re
import subprocess
from contextlib import chdir
from datetime import timedelta
from pathlib import Path

import pytest

from mssante_operator.assembly.clock import utc_now
from mssante_operator.setup.testbed.certificate_profile import Lifetime
from tests.support.lists.real import REAL_INTERMEDIATE, REAL_LIST, REAL_ROOT, needs_real_data
from tests.support.machines.daemon import (
    MSSANTE,
    REASON,
    RESPONSIBLE,
    Daemon,
    command,
    federation,
    lay_out,
)


@pytest.fixture(scope="module")
def operator_a(tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    return lay_out(tmp_path_factory.mktemp("a"), "a")


def mssante(*words: str, cwd: Path) -> tuple[int, str, str]:
    """Run the command in a folder, without --config."""
    with chdir(cwd):
        return command(*words)


def one_line(text: str) -> str:
    """Check an expected error: one line, no traceback."""
    assert text.count("\n") == 1, text
    assert text.startswith("mssante: ")
    return text


class TestInit:
    def test_makes_a_working_operator(self, tmp_path: Path) -> None:
        code, out, _ = mssante("init", "here", "--domain", "chu.mssante.fr", cwd=tmp_path)
        assert code == 0
        assert f" --config {tmp_path / 'here'}/mssante.toml serve\n" in out
        assert (tmp_path / "here" / "pki" / "server.key").stat().st_mode & 0o777 == 0o600
        code, out, err = mssante("--config", "here/mssante.toml", "config", "check", cwd=tmp_path)
        assert (code, err) == (0, "")
        code, out, _ = mssante(
            "--config", "here/mssante.toml", "mailbox", "list", "--json", cwd=tmp_path
        )
        boxes = json.loads(out)
        assert sorted(box["type"] for box in boxes) == ["APP", "CAB", "ORG", "PER"]
        assert {box["address"].partition("@")[2] for box in boxes} == {"chu.mssante.fr"}

    def test_refuses_to_overwrite(self, operator_a: Daemon, tmp_path: Path) -> None:
        code, _, err = mssante("init", str(operator_a.folder), cwd=tmp_path)
        assert code == 1
        assert "already exists; choose another folder" in one_line(err)

    def test_refuses_a_bad_endpoint(self, tmp_path: Path) -> None:
        code, _, err = mssante("init", "here", "--listen", "25", cwd=tmp_path)
        assert code == 1
        assert "expected HOST:PORT" in one_line(err)
        assert not (tmp_path / "here").exists()


class TestConfiguration:
    def test_none_at_all(self, tmp_path: Path) -> None:
        code, _, err = mssante("serve", cwd=tmp_path)
        assert code == 1
        assert "mssante init DIR" in one_line(err)

    @pytest.mark.parametrize("command", [("serve",), ("mailbox", "list"), ("queue", "summary")])
    def test_unknown_key(
        self, operator_a: Daemon, tmp_path: Path, command: tuple[str, ...]
    ) -> None:
        bad = tmp_path / "mssante.toml"
        bad.write_text(operator_a.config.read_text().replace("listen", "lisen", 1))
        code, _, err = mssante(*command, cwd=tmp_path)
        assert code == 1
        assert "inbound.lisen: unknown key; did you mean listen?" in one_line(err)

    @pytest.mark.parametrize(
        ("file", "content", "says"),
        [
            ("pki/server.pem", None, "server.pem"),
            ("pki/server.pem", b"garbage", "server.pem"),
            ("pki/server.key", None, "server.key"),
            ("pki/server.key", "other", "own unencrypted PEM key"),
            ("pki/root.pem", None, "root.pem"),
            ("pki/root.pem", b"garbage", "root.pem"),
            ("pki/intermediate.pem", None, "intermediate.pem"),
            ("data/mssante.db", b"garbage" * 100, "database"),
            ("data/mssante.db", None, "db upgrade"),
        ],
    )
    def test_a_broken_file_is_one_line(
        self, tmp_path: Path, file: str, content: bytes | str | None, says: str
    ) -> None:
        daemon = lay_out(tmp_path / "x", "a")
        path = daemon.folder / file
        path.unlink()
        if content == "other":
            path.write_bytes(federation().operators["b"].key_pem)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        code, out, err = mssante("--config", str(daemon.config), "serve", cwd=tmp_path)
        assert (code, out) == (1, "")
        assert says in one_line(err)
        assert str(daemon.config) in err
        code, out, err = mssante("--config", str(daemon.config), "config", "check", cwd=tmp_path)
        assert (code, err) == (1, "")
        assert says in out

    @pytest.mark.parametrize(
        ("url", "says"),
        [
            ("mysql://nobody:hush@127.0.0.1/none", "expected sqlite:///PATH or postgresql://"),
            ("sqlite:////nowhere/at/all.db", "cannot open the database"),
            ("hush", "expected sqlite:///PATH or postgresql://"),
        ],
    )
    def test_a_database_that_cannot_be_used(self, tmp_path: Path, url: str, says: str) -> None:
        daemon = lay_out(tmp_path / "x", "a")
        config = daemon.config.read_text()
        daemon.config.write_text(config.replace("[tls]", f'database = "{url}"\n\n[tls]'))
        said = one_line(daemon.run("serve", code=1))
        assert "storage" in said
        assert says in said
        assert "hush" not in said.replace("'hush'", "")

    def test_wrong_usage(self, tmp_path: Path) -> None:
        code, _, err = mssante("queue", "sumary", cwd=tmp_path)
        assert code == 2
        assert "No such command" in err


class TestWhitelist:
    @needs_real_data
    def test_the_real_list(self, tmp_path: Path) -> None:
        trust = ("--trust", str(REAL_ROOT), "--trust", str(REAL_INTERMEDIATE))
        at = ("--at", "2025-03-01T00:00:00Z")
        code, out, _ = mssante(
            "whitelist", "verify", str(REAL_LIST), *trust, *at, "--json", cwd=tmp_path
        )
        found = json.loads(out)
        assert code == 0
        assert found["valid"] is True
        assert (found["entries"], found["domains"]) == (6494, 4944)
        assert (found["dn_strings"], found["names"]) == (391, 383)
        assert found["generated_at"] == "2025-02-28T15:42:07+00:00"
        assert found["signer"].startswith("CN=alb.mssante.fr,")

    @needs_real_data
    def test_the_real_list_today(self, tmp_path: Path) -> None:
        # The signer's certificate expired on 2026-08-23 (DOMAIN §2.5).
        trust = ("--trust", str(REAL_ROOT), "--trust", str(REAL_INTERMEDIATE))
        at = ("--at", "2026-11-22T00:00:00Z")
        code, out, _ = mssante("whitelist", "verify", str(REAL_LIST), *trust, *at, cwd=tmp_path)
        assert code == 1
        assert "signer-expired" in out

    @pytest.mark.parametrize(
        ("damage", "reason"),
        [
            (lambda data: data.replace(b"b.mssante.fr", b"x.mssante.fr", 1), "content-altered"),
            (lambda data: data[:-100], "not-well-formed"),
            (
                lambda data: data[: data.index(b"<Signature")] + b"</ListeBlancheMSSante>",
                "unsigned",
            ),
            (lambda _: _by_another_signer(), "signer-not-configured"),
        ],
    )
    def test_refusals(
        self, operator_a: Daemon, tmp_path: Path, damage: object, reason: str
    ) -> None:
        assert callable(damage)
        path = tmp_path / "list.xml"
        path.write_bytes(damage(federation().white_list))
        said = json.loads(operator_a.run("whitelist", "verify", str(path), "--json", code=1))
        assert (said["valid"], said["reason"]) == (False, reason)

    def test_status(self, operator_a: Daemon) -> None:
        said = json.loads(operator_a.run("whitelist", "status", "--json"))
        assert (said["usable"], said["domains"]) == (True, 3)

    def explain(self, daemon: Daemon, peer: str, *words: str, code: int) -> dict[str, str]:
        certificate, _ = daemon.identity(peer)
        said = daemon.run(
            *("whitelist", "explain", "peer", "--certificate", str(certificate)),
            *(*words, "--json"),
            code=code,
        )
        return {row["rule"]: row["result"] for row in json.loads(said)}

    def test_explain_what_passes(self, operator_a: Daemon) -> None:
        box = "claire.martin@a.mssante.fr"
        rules = self.explain(operator_a, "b", "--from", "dr@b.mssante.fr", "--rcpt", box, code=0)
        assert rules.pop("tls") == "not checked"  # no session, no cipher
        assert set(rules.values()) == {"passed"}
        assert {"certificate", "chain", "list", "listed", "sender"} <= set(rules)
        assert f"recipient {box}" in rules

    def test_explain_what_fails(self, operator_a: Daemon) -> None:
        rules = self.explain(operator_a, "c", "--from", "dr@b.mssante.fr", code=1)
        assert {rule for rule, result in rules.items() if result == "FAILED"} == {"sender"}
        rules = self.explain(operator_a, "intruder", "--from", "", code=1)
        assert {rule for rule, result in rules.items() if result == "FAILED"} == {"listed"}

    def test_explain_prints_the_reply(self, operator_a: Daemon) -> None:
        certificate, _ = operator_a.identity("intruder")
        said = operator_a.run(
            *("whitelist", "explain", "peer", "--certificate", str(certificate), "--from", ""),
            code=1,
        )
        assert said.endswith(
            "verdict: 554 5.7.1 Certificate name is not on the national white list\n"
        )


def _by_another_signer() -> bytes:
    space = federation().space
    other = space.enrol("smtp.b.mssante.fr", "OPERATEUR B")
    now = utc_now()
    assert Lifetime.of_leaf(now).not_after > now + timedelta(days=1)
    forged = type(space)(space.hierarchy, other, now)
    return forged.sign_list({"b.mssante.fr": other})


class TestMailstore:
    def test_mailboxes(self, operator_a: Daemon) -> None:
        operator_a.run("domain", "add", "chu.mssante.fr")
        assert "chu.mssante.fr" in operator_a.run("domain", "list")
        operator_a.run(
            *("mailbox", "add", "urgences@chu.mssante.fr", "--type", "ORG"),
            *("--finess", "750000002", *RESPONSIBLE),
        )
        shown = json.loads(operator_a.run("mailbox", "show", "urgences@chu.mssante.fr", "--json"))
        assert (shown["type"], shown["identifier"]) == ("ORG", "FINESS 750000002")
        box = "urgences@chu.mssante.fr"
        for verb, state in (("suspend", "suspended"), ("resume", "active")):
            assert state in operator_a.run("mailbox", verb, box, *REASON)
        assert operator_a.run("mailbox", "close", box, *REASON, "--yes") == f"{box} is closed\n"

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("mailbox", "add", "x@a.mssante.fr", "--type", "PER", "--rpps", "1"), "11 digits"),
            (
                ("mailbox", "add", "x@a.mssante.fr", "--type", "PER", "--rpps", "10000001917"),
                "Luhn",
            ),
            (("mailbox", "add", "x@a.mssante.fr", "--type", "PER", "--siren", "732829320"), "PER"),
            (("mailbox", "add", "x@z.mssante.fr", "--type", "PER", "--rpps", "10000001916"), "add"),
            (("mailbox", "show", "nobody@a.mssante.fr"), "no mailbox"),
            (("message", "show", "0" * 32), "no message"),
            (("domain", "add", "not a domain"), "not a domain"),
            (("domain", "add", "a.mssante.fr"), "hosted already"),
        ],
    )
    def test_refusals_are_one_line(
        self, operator_a: Daemon, words: tuple[str, ...], says: str
    ) -> None:
        assert says in one_line(operator_a.run(*words, code=1))

    def test_send_list_show_export(self, operator_a: Daemon, tmp_path: Path) -> None:
        letter = tmp_path / "letter.eml"
        letter.write_bytes(b"From: claire.martin@a.mssante.fr\nSubject: [FIN]\n\nFrom me\n")
        box = "cabinet.durand@a.mssante.fr"
        words = ("--from", "claire.martin@a.mssante.fr", "--to", box)
        said = operator_a.run("message", "send", str(letter), *words)
        key = said.split()[2].rstrip(":")
        (row,) = json.loads(operator_a.run("message", "list", box, "--json"))
        assert (row["id"], row["sender"]) == (key, "claire.martin@a.mssante.fr")
        content = operator_a.run("message", "show", key, "--content", "--reason", "test")
        assert content.startswith("Received: from smtp.a.mssante.fr ([127.0.0.1])")
        date, key, body = content.partition("Subject: [FIN]\r\n")[2].split("\r\n", 2)
        assert date.startswith("Date: ")
        assert re.fullmatch(r"Message-ID: <[0-9a-f]{32}@smtp\.a\.mssante\.fr>", key)
        assert body == "\r\nFrom me\r\n"
        out = tmp_path / "box.mbox"
        operator_a.run("message", "export", "--reason", "test", box, "--output", str(out))
        exported = out.read_text()
        assert exported.startswith("From claire.martin@a.mssante.fr ")
        assert "\n>From me\n" in exported

    def test_send_asks_for_reports(self, operator_a: Daemon, tmp_path: Path) -> None:
        letter = tmp_path / "letter.eml"
        letter.write_bytes(b"From: claire.martin@a.mssante.fr\nSubject: [FIN]\n\nx\n")
        claire = "claire.martin@a.mssante.fr"
        to = ("--from", claire, "--to", "cabinet.durand@a.mssante.fr")
        asks = ("--notify", "Success,failure", "--ret", "full", "--envid", "dossier 4711")
        before = len(json.loads(operator_a.run("message", "list", claire, "--json")))
        operator_a.run("message", "send", str(letter), *to, *asks)
        report, *old = json.loads(operator_a.run("message", "list", claire, "--json"))
        assert (len(old), report["sender"]) == (before, "")
        content = operator_a.run("message", "show", report["id"], "--content", "--reason", "test")
        assert "\r\nOriginal-Envelope-Id: dossier 4711\r\n" in content
        assert "\r\nAction: delivered\r\n" in content

    @pytest.mark.parametrize(
        ("option", "value", "says"),
        [
            ("--notify", "sometimes", "NOTIFY is NEVER, or a list of SUCCESS, FAILURE, DELAY"),
            ("--notify", "never,delay", "NOTIFY is NEVER"),
            ("--notify", "delay ORCPT=rfc822;x", "separate keywords by commas"),
            ("--notify", "", "Malformed RCPT parameter"),
            ("--ret", "half", "'half' is not one of"),
            ("--envid", "é", "Not printable US-ASCII"),
            ("--envid", "", "Malformed MAIL parameter"),
            ("--envid", "x" * 101, "at most 100 characters"),
        ],
    )
    def test_what_cannot_be_asked_for(
        self, operator_a: Daemon, option: str, value: str, says: str
    ) -> None:
        words = ("message", "send", "-", "--from", "x@a.fr", "--to", "y@a.fr", option, value)
        code, out, err = command("--config", str(operator_a.config), *words)
        assert (code, out) == (2, "")
        assert says in err

    def test_send_is_admitted_like_any_mail(self, operator_a: Daemon, tmp_path: Path) -> None:
        letter = tmp_path / "letter.eml"
        letter.write_bytes(b"From: claire.martin@a.mssante.fr\n\nx\n")
        words = ("--from", "claire.martin@a.mssante.fr", "--to", "x@gmail.com")
        said = one_line(operator_a.run("message", "send", str(letter), *words, code=1))
        assert "550 5.7.1 gmail.com is not on the national white list" in said
        assert operator_a.run("queue", "list", "--json") == "[]\n"


def test_help_needs_no_configuration(tmp_path: Path) -> None:
    out = subprocess.check_output([*MSSANTE, "--help"], text=True, cwd=tmp_path)
    for word in ("init", "serve", "demo", "whitelist", "queue", "config", "db", "mailbox"):
        assert word in out
