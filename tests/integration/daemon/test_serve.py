"""Whole daemon: start, service, monitoring, stop, and restart without loss."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.machines.daemon import Daemon, client, federation, get, lay_out, sample, served
from tests.support.sessions.letters import MARTIN, TEXT
from tests.support.waiting import until_now


@pytest.fixture
def operator_a(tmp_path: Path) -> Daemon:
    return lay_out(tmp_path / "a", "a", workers=2)


def test_a_message_in_and_the_metrics_of_all_workers(operator_a: Daemon) -> None:
    with served(operator_a) as daemon:
        for _ in range(12):  # the kernel spreads connections over the workers
            with client(daemon, "b") as smtp:
                smtp.sendmail("dr@b.mssante.fr", [MARTIN], TEXT)
        with client(daemon, "intruder") as smtp:
            smtp.ehlo()
            assert smtp.mail("dr@b.mssante.fr")[0] == 554
        assert len(daemon.entries(MARTIN)) == 12
        assert sample(daemon, "mssante_messages_accepted_total") == 12
        assert sample(daemon, 'mssante_refused_total{code="554",rule="listed"}') == 1
        assert sample(daemon, 'mssante_recipients_delivered_total{operator="",to="mailbox"}') == 12
        assert sample(daemon, "mssante_whitelist_entries") == 3
        assert sample(daemon, "mssante_whitelist_valid") == 1
        assert sample(daemon, 'mssante_queue_deliveries{state="waiting"}') == 0
        assert sample(daemon, 'mssante_queue_oldest_age_seconds{traffic="person"}') == 0
        expiry = federation().operators["a"].certificate.not_valid_after_utc.timestamp()
        server = 'mssante_certificate_expiry_timestamp_seconds{certificate="server"}'
        assert sample(daemon, server) == expiry
        assert get(daemon, "/healthz") == (200, "ok\n")
        assert json.loads(get(daemon, "/readyz")[1]) == {
            "ready": True,
            "problems": [],
            "warnings": [],
            "white_list": "fresh",
        }
        assert daemon.stop() == 0


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_on_postgresql(operator_a: Daemon, empty_database_url: str) -> None:
    # The same daemon with PostgreSQL (docs/operate.md): only the URL differs.
    config = operator_a.config.read_text()
    operator_a.config.write_text(
        config.replace("[tls]", f"database = {json.dumps(empty_database_url)}\n\n[tls]")
    )
    assert "run: mssante" in operator_a.run("serve", code=1)
    operator_a.run("db", "upgrade")
    operator_a.run("domain", "add", "a.mssante.fr")
    operator_a.run("mailbox", "add", MARTIN, "--type", "PER", "--rpps", "10000001916")
    with served(operator_a) as daemon:
        with client(daemon, "b") as smtp:
            smtp.sendmail("dr@b.mssante.fr", [MARTIN], TEXT)
        (entry,) = daemon.entries(MARTIN)
        assert entry.message.size == len(TEXT)
        assert sample(daemon, "mssante_store_available") == 1


def test_without_a_list_it_runs_defers_and_says_why(operator_a: Daemon) -> None:
    # DOMAIN §9.13; a list that comes later is loaded without a restart (§9.12).
    path = operator_a.folder / "whitelist" / "listeblanchemssante.xml"
    good = path.read_bytes()
    path.unlink()
    shutil.rmtree(operator_a.folder / "data" / "whitelist")  # adopted when it was installed
    with served(operator_a) as daemon:
        with client(daemon, "b") as smtp:
            smtp.ehlo()
            code, text = smtp.mail("dr@b.mssante.fr")
            assert (code, text[:5]) == (451, b"4.7.1")
        # Before the first failed fetch the message says only that there is no list.
        until_now(lambda: "listeblanchemssante.xml" in get(daemon, "/readyz")[1])
        status, text_ready = get(daemon, "/readyz")
        assert status == 503
        assert "listeblanchemssante.xml" in json.loads(text_ready)["problems"][0]
        assert sample(daemon, "mssante_whitelist_valid") == 0
        path.write_bytes(good)
        until_now(lambda: get(daemon, "/readyz")[0] == 200)


def test_a_dead_worker_is_replaced(operator_a: Daemon) -> None:
    with served(operator_a) as daemon:
        victim = min(daemon.processes("worker"))
        os.kill(victim, signal.SIGKILL)
        until_now(lambda: len(daemon.processes() - {victim}) == 4)
        with client(daemon, "b") as smtp:
            smtp.sendmail("dr@b.mssante.fr", [MARTIN], TEXT)
        assert len(daemon.entries(MARTIN)) == 1


def test_the_children_do_not_outlive_their_supervisor(operator_a: Daemon) -> None:
    with served(operator_a) as daemon:
        assert daemon.process is not None
        children = daemon.processes() | daemon.processes("launcher")
        assert len(children) == 5
        os.kill(daemon.process.pid, signal.SIGKILL)
        daemon._end()
        until_now(lambda: not any(_alive(child) for child in children))


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_one_daemon_for_one_storage(operator_a: Daemon) -> None:
    with served(operator_a) as daemon:
        said = daemon.run("serve", code=1)
        assert said.count("\n") == 1
        assert "another mssante serve is running on this storage; stop it first" in said


@pytest.mark.parametrize("key", ["listen", "admin"])
def test_a_port_in_use_is_one_line(tmp_path: Path, key: str) -> None:
    a, b = lay_out(tmp_path / "a", "a"), lay_out(tmp_path / "b", "b")
    theirs, ours = (a.endpoint, b.endpoint) if key == "listen" else (a.admin, b.admin)
    b.config.write_text(b.config.read_text().replace(ours, theirs))
    with served(a):
        said = b.run("serve", code=1)
        lines = [line for line in said.splitlines() if line.startswith("mssante: ")]
        assert len(lines) == 1
        assert f"cannot listen on {theirs}: Address already in use" in lines[0]
        assert "Traceback" not in said
        with client(a, "b") as smtp:
            assert smtp.noop()[0] == 250


def test_two_operators_exchange_and_the_queue_survives_a_restart(tmp_path: Path) -> None:
    b = lay_out(tmp_path / "b", "b")
    a = lay_out(tmp_path / "a", "a", {"b.mssante.fr": b.endpoint})
    letter = tmp_path / "letter.eml"
    letter.write_bytes(b"From: claire.martin@a.mssante.fr\nSubject: x\n\nBonjour\n")
    recipient = "cardiologie@b.mssante.fr"
    a.outbound(retry_first_seconds=0.5)
    with served(a) as daemon:  # b is down: the message is deferred
        daemon.run("message", "send", str(letter), "--from", MARTIN, "--to", recipient)
        until_now(lambda: "Connect" in daemon.run("queue", "list"))
        summary = json.loads(daemon.run("queue", "summary", "--json"))
        assert [(line["domain"], line["waiting"]) for line in summary] == [("b.mssante.fr", 1)]
        assert daemon.stop() == 0
    with served(b), served(a) as daemon:
        until_now(lambda: len(b.entries(recipient)) == 1)
        until_now(lambda: json.loads(daemon.run("queue", "summary", "--json")) == [])
    (entry,) = b.entries(recipient)
    assert entry.message.sender == MARTIN
    assert entry.message.peer.startswith("CN=smtp.a.mssante.fr,")


def test_logs_hold_no_content_and_no_patient(operator_a: Daemon) -> None:
    # DOMAIN §9.59, §1.5: neither subjects, bodies nor a patient's INS, even when refused.
    with served(operator_a) as daemon:
        with client(daemon, "b") as smtp:
            smtp.sendmail("dr@b.mssante.fr", [MARTIN], TEXT)
            smtp.sendmail("dr@b.mssante.fr", [MARTIN], TEXT.replace(b"@b.", b"@c."))
            smtp.mail("279035121518989@patient.mssante.fr")
            smtp.rset()
            smtp.mail("dr@b.mssante.fr")
            smtp.rcpt("279035121518989@patient.mssante.fr")
        daemon.stop()
        log = daemon.log()
        tagged = daemon.run("trace", daemon.entries(MARTIN)[1].message.id)
        journal = b"".join(path.read_bytes() for path in daemon.folder.rglob("*.jsonl")).decode()
    assert "accepted" in log
    assert tagged.count("header_from.foreign") == tagged.count("c.mssante.fr") == 1
    assert "refused" in log
    assert '"event":"refused"' in journal
    for secret in ("279035121518989", "Bonjour", "[FIN]"):
        assert secret not in log
        assert secret not in journal
