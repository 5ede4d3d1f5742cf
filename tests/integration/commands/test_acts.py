"""Each action on domains, mailboxes, keys and content leaves an event with its actor."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mssante_operator.services.acts import login_name
from tests.support.delivery.queue_commands import journal_files
from tests.support.machines.daemon import MSSANTE, REASON, Daemon, lay_out

MARTIN = "claire.martin@a.mssante.fr"
NEW = "nouveau@chu.mssante.fr"
LETTER = (
    b"From: <claire.martin@a.mssante.fr>\r\nSubject: le secret\r\n"
    b"Date: Sun, 29 Nov 2026 10:00:00 +0100\r\nMessage-ID: <1@a.mssante.fr>\r\n\r\nSIDA\r\n"
)


@pytest.fixture
def operator_a(tmp_path: Path) -> Daemon:
    return lay_out(tmp_path / "a", "a")


def events(daemon: Daemon) -> list[dict[str, Any]]:
    """All events of the operator's journal."""
    octets = b"".join(path.read_bytes() for path in journal_files(daemon))
    return [json.loads(line) for line in octets.split(b"\n") if line]


def send(daemon: Daemon, *to: str) -> str:
    """Send a message; returns its id."""
    letter = daemon.folder / "letter.eml"
    letter.write_bytes(LETTER)
    words = [word for address in to for word in ("--to", address)]
    said = daemon.run("message", "send", str(letter), "--from", MARTIN, *words)
    return said.partition("accepted as ")[2].partition(":")[0]


def test_each_act_leaves_its_event(operator_a: Daemon) -> None:
    run = operator_a.run
    run("domain", "add", "chu.mssante.fr")
    run("mailbox", "add", NEW, "--type", "PER", "--rpps", "10000001916", "--quota", "1M")
    run("mailbox", "quota", NEW, "none")
    run("mailbox", "suspend", NEW, *REASON)
    run("mailbox", "resume", NEW)
    run("mailbox", "close", NEW, *REASON, "--yes")
    message = send(operator_a, "cardiologie@a.mssante.fr", "dr@b.mssante.fr")
    run("message", "show", message)  # metadata is not content
    assert "SIDA" in run("message", "show", message, "--content", "--reason", "test")
    run(
        "message",
        "export",
        "--reason",
        "test",
        MARTIN,
        "--output",
        str(operator_a.folder / "martin.mbox"),
    )
    run("keys", "rotate", "--rewrite")
    run("store", "rewrite")
    run("store", "gc")
    found = events(operator_a)
    assert {event.pop("who") for event in found} == {login_name()}
    names = [event["event"] for event in found]
    assert names == [
        *("domain.added", "mailbox.added", "mailbox.quota", "mailbox.suspended"),
        *("mailbox.resumed", "mailbox.closed", "submitted"),
        *("break_glass.asked", "message.read", "break_glass.asked", "mailbox.exported"),
        *("keys.rotated", "store.rewritten", "store.rewritten", "store.freed"),
    ]
    of = {event["event"]: event for event in found}
    assert of["domain.added"]["domain"] == "chu.mssante.fr"
    assert (of["mailbox.added"]["mailbox"], of["mailbox.added"]["type"]) == (NEW, "PER")
    assert of["mailbox.added"]["quota"] == 1_048_576
    assert of["mailbox.quota"]["quota"] == "none"
    assert of["submitted"]["message"] == of["message.read"]["message"] == message
    assert of["submitted"]["recipients"] == ["cardiologie@a.mssante.fr", "dr@b.mssante.fr"]
    assert of["mailbox.exported"]["mailbox"] == MARTIN
    journal = "".join(path.read_text() for path in journal_files(operator_a))
    assert "secret" not in journal
    assert "SIDA" not in journal
    assert "submitted" in run("trace", message)


def test_keys_that_are_made_leave_an_event(operator_a: Daemon) -> None:
    data = operator_a.folder / "data"
    (data / "keys").unlink()
    (data / "mssante.db").unlink()
    operator_a.run("db", "upgrade")
    (made,) = events(operator_a)
    assert (made["event"], made["file"], made["who"]) == (
        "keys.made",
        str(data / "keys"),
        login_name(),
    )


def test_an_act_that_was_refused_leaves_none(operator_a: Daemon) -> None:
    operator_a.run("domain", "add", "a.mssante.fr", code=1)
    operator_a.run("mailbox", "suspend", "nobody@a.mssante.fr", *REASON, code=1)
    operator_a.run("message", "show", "0" * 32, "--content", "--reason", "test", code=1)
    assert events(operator_a) == []


def test_a_journal_that_cannot_be_written_stops_no_act(operator_a: Daemon) -> None:
    (operator_a.folder / "data" / "trace").write_bytes(b"in the way")
    said = operator_a.run("mailbox", "suspend", MARTIN, *REASON)
    assert f"{MARTIN} is suspended" in said
    assert "journal.unwritable" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_root_leaves_no_files_in_the_store_of_another(operator_a: Daemon) -> None:
    data = operator_a.folder / "data"
    os.chown(data, 12345, 12345)
    for words in (
        ("domain", "add", "chu.mssante.fr"),
        ("mailbox", "suspend", MARTIN, *REASON),
        ("message", "export", "--reason", "test", MARTIN),
        ("keys", "rotate"),
        ("store", "gc"),
        ("db", "upgrade"),
    ):
        assert "sudo -u '#12345'" in operator_a.run(*words, code=1)
    assert not (data / "trace").exists()


def mssante(daemon: Daemon, *words: str, out: int) -> tuple[int, str]:
    """Run a command with a given output; returns exit code and error text."""
    ran = subprocess.run(
        [*MSSANTE, "--config", str(daemon.config), *words],
        stdout=out,
        stderr=subprocess.PIPE,
        check=False,
    )
    return ran.returncode, ran.stderr.decode()


def test_an_output_that_nobody_reads_ends_no_work(operator_a: Daemon) -> None:
    send(operator_a, MARTIN)
    full = os.open("/dev/full", os.O_WRONLY)
    reader, gone = os.pipe()
    os.close(reader)
    try:
        for out in (full, gone):
            assert mssante(operator_a, "keys", "rotate", out=out) == (0, "")
        # The listing is the result itself, so a lost output gives exit code 1.
        assert mssante(operator_a, "mailbox", "list", out=gone) == (1, "")
        code, said = mssante(operator_a, "mailbox", "list", out=full)
        assert (code, said.count("\n")) == (1, 1)
        assert said.startswith("mssante: output cannot be written: No space left")
    finally:
        os.close(full)
        os.close(gone)
    assert [event["event"] for event in events(operator_a)].count("keys.rotated") == 2
