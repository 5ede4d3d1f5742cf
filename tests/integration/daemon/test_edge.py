"""SMTP edge of the real daemon: configured TLS, transcripts, metrics."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machines.daemon import (
    MSSANTE,
    Daemon,
    client,
    federation,
    get,
    lay_out,
    sample,
    served,
)
from tests.support.machines.tls_settings import configure, handshake
from tests.support.sessions.letters import TEXT
from tests.support.waiting import until_now
from whitelist.pki.distinguished_name import DistinguishedName

MARTIN = "claire.martin@a.mssante.fr"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Operator that offers only one group and one TLS 1.2 suite."""
    daemon = lay_out(tmp_path_factory.mktemp("strict"), "a", workers=1)
    suites = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
    configure(daemon, "tls", groups=["secp384r1"], suites=suites)
    with served(daemon) as running:
        yield running


@pytest.mark.parametrize(("group", "agreed"), [("secp384r1", True), ("prime256v1", False)])
def test_only_the_configured_groups_are_agreed_on(strict: Daemon, group: str, agreed: bool) -> None:
    assert bool(handshake(strict, group=group)) is agreed


@pytest.mark.parametrize(("suites", "agreed"), [("AES256-GCM", True), ("AES128-GCM", False)])
def test_only_the_configured_suites_are_agreed_on(
    strict: Daemon, suites: str, agreed: bool
) -> None:
    strength = suites.partition("-")[0]
    names = ":".join(
        f"ECDHE-{key}-{suites}-SHA{384 if agreed else 256}" for key in ("ECDSA", "RSA")
    )
    found = handshake(strict, suites=names)
    assert bool(found) is agreed
    assert not found or strength in found


def test_a_transcript_of_the_peer_asked_for(tmp_path: Path) -> None:
    daemon = lay_out(tmp_path / "a", "a", workers=1)
    name = DistinguishedName.from_certificate(federation().operators["b"].certificate)
    log = (daemon.folder / "serve.log").open("ab")
    daemon.process = subprocess.Popen(
        [*MSSANTE, "--config", str(daemon.config), "serve", "--debug-peer", str(name)],
        stdout=subprocess.PIPE,
        stderr=log,
        process_group=0,
    )
    assert daemon.process.stdout is not None
    with log:
        assert daemon.process.stdout.readline().startswith(b"mssante listens on "), daemon.log()
    with client(daemon, "b") as smtp:
        smtp.sendmail("dr@b.mssante.fr", [MARTIN], TEXT)
    message = daemon.entries(MARTIN)[0].message
    assert daemon.stop() == 0  # the journal is written before the exit
    said = daemon.run("trace", message.id)
    # smtplib writes "to:" since Python 3.13.
    assert f"c: rcpt to:<{MARTIN}>" in said.lower()
    assert "S: 354 " in said
    assert "Bonjour" not in said


def test_a_name_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    daemon = lay_out(tmp_path / "a", "a", workers=1)
    assert "--debug-peer" in daemon.run("serve", "--debug-peer", "smtp.b.mssante.fr", code=2)


def test_open_sessions_are_counted_and_those_of_a_dead_worker_forgotten(tmp_path: Path) -> None:
    daemon = lay_out(tmp_path / "a", "a", workers=1)
    with served(daemon):
        smtp = client(daemon, "b")
        assert sample(daemon, "mssante_sessions_open") == 1
        assert sample(daemon, "mssante_spool_free_bytes") > 0
        (worker,) = daemon.processes("worker")
        os.kill(worker, signal.SIGKILL)
        until_now(lambda: sample(daemon, "mssante_sessions_open") == 0)
        smtp.close()


def test_a_disk_nearly_full_is_an_alarm_and_puts_mail_off(tmp_path: Path) -> None:
    daemon = lay_out(tmp_path / "a", "a", workers=1)
    configure(daemon, "storage", min_free_bytes=2**62)
    with served(daemon), client(daemon, "b") as smtp:
        smtp.ehlo()
        code, text = smtp.mail("dr@b.mssante.fr")
        assert (code, text[:6]) == (452, b"4.3.1 ")
        assert sample(daemon, 'mssante_alarm{name="spool"}') == 1
        status, body = get(daemon, "/readyz")
        assert status == 503
        assert json.loads(body)["problems"][0].startswith("disk: low")


def test_the_postmaster_of_the_configuration(tmp_path: Path) -> None:
    # RFC 5321 §4.5.1
    daemon = lay_out(tmp_path / "a", "a", workers=1)
    with served(daemon), client(daemon, "b") as smtp:
        smtp.ehlo()
        smtp.mail("<>")
        assert smtp.docmd("RCPT", "TO:<Postmaster>")[0] == 250
        assert smtp.data(TEXT)[0] == 250
        (entry,) = daemon.entries("cardiologie@a.mssante.fr")
        assert entry.recipient == "postmaster"


@pytest.mark.parametrize(
    ("local", "verdict"), [("postmaster", "250 2.1.5 "), ("hostmaster", "550 5.1.1 ")]
)
def test_a_peer_explain_and_send_get_the_same_answer(
    tmp_path: Path, local: str, verdict: str
) -> None:
    daemon, to = lay_out(tmp_path / "a", "a", workers=1), f"{local}@a.mssante.fr"
    refused = int(verdict.startswith("550"))
    with served(daemon), client(daemon, "b") as smtp:
        smtp.ehlo()
        smtp.mail("dr@b.mssante.fr")
        code, text = smtp.docmd("RCPT", f"TO:<{to}>")
        assert f"{code} {text.decode()}".startswith(verdict)
    words = ("--certificate", str(daemon.identity("b")[0]), "--from", "dr@b.mssante.fr")
    said = daemon.run("whitelist", "explain", *words, "--rcpt", to, "--json", code=refused)
    (row,) = (row for row in json.loads(said) if row["rule"] == f"recipient {to}")
    assert (row["reply"] or verdict).startswith(verdict)
    letter = tmp_path / "letter"
    letter.write_bytes(f"From: <{MARTIN}>\r\nSubject: who answers\r\n\r\nx\r\n".encode())
    said = daemon.run("message", "send", str(letter), "--from", MARTIN, "--to", to, code=refused)
    assert not refused or verdict in said
    assert len(daemon.entries("cardiologie@a.mssante.fr")) == 1 - refused
    if not refused:
        daemon.run("message", "send", str(letter), "--from", to, "--to", MARTIN, code=1)


def test_a_postmaster_that_is_no_address_is_refused(tmp_path: Path) -> None:
    daemon = lay_out(tmp_path / "a", "a", workers=1)
    text = daemon.config.read_text()
    daemon.config.write_text(text.replace('postmaster = "cardiologie@', 'postmaster = "a..b@'))
    assert "operator.postmaster" in daemon.run("serve", code=1)
