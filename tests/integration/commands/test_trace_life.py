"""Whole life of a message that never arrives, shown by `mssante trace`."""

import re
from pathlib import Path

import pytest

from mssante_operator.services.acts import login_name
from tests.support.machines.daemon import Daemon, free_endpoint, lay_out, served
from tests.support.waiting import until_now

BOX = "claire.martin@a.mssante.fr"
WHY = ("--reason", "ticket 4712")


def told(daemon: Daemon, key: str) -> list[str]:
    """Events of a message in order, without attempts; with their actors."""
    lines = re.findall(r"^\S+ \w+:\d+ ([\w.]+) (.*)$", daemon.run("trace", key), re.MULTILINE)
    found = []
    for name, facts in lines:
        by = re.search(r"who=(\S+)", facts)
        if name != "delivery.attempted":
            found.append(f"{name} {by[1]}" if by else name)
    return found


def test_from_the_rule_that_held_it_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = lay_out(tmp_path / "a", "a", {"b.mssante.fr": free_endpoint()}, workers=1)
    daemon.outbound(
        retry_first_seconds=0.5,
        probe_first_seconds=0.5,
        poll_seconds=0.1,
        delay_warning_hours=0.0004,
        life_hours=0.005,
    )
    letter = tmp_path / "letter.eml"
    letter.write_bytes(b"From: claire.martin@a.mssante.fr\r\nSubject: x\r\n\r\nBonjour\r\n")
    daemon.run("queue", "rules", "add", "--sender", BOX, *WHY)
    sending = ("message", "send", str(letter), "--from", BOX, "--to", "dr@b.mssante.fr")
    sent = ["queue.held rule", f"submitted {login_name()}"]
    life = [*sent, "queue.released anne"]
    with served(daemon):
        key = daemon.run(*sending).split()[2].rstrip(":")
        assert told(daemon, key) == sent
        with monkeypatch.context() as changed:
            changed.setenv("SUDO_USER", "anne")
            daemon.run("queue", "release", "--id", key, *WHY)
        life += ["delivery.delayed", "report.sent", "delivery.expired", "report.sent"]
        until_now(lambda: told(daemon, key) == life, patience=60)
    monkeypatch.setenv("SUDO_USER", "bert")
    daemon.run("queue", "retry", "--state", "failed", *WHY)
    monkeypatch.setenv("SUDO_USER", "chloe")
    daemon.run("queue", "drop", "--id", key, "--no-report", *WHY)
    assert told(daemon, key) == [*life, "queue.retried bert", "queue.dropped chloe"]
    text = daemon.run("trace", key)
    assert text.count("report.sent delivery=1 domain=b.mssante.fr report=") == 2
    for report in re.findall(r"report=(\w{32})", text):
        assert f"message={key}" in daemon.run("trace", report)
        assert f"held by: mailbox={BOX}" in daemon.run("trace", report)
    assert "Bonjour" not in text
