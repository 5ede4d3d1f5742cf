"""Commands on mailboxes and messages: send, list, export, close."""

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from mssante_operator.services.subjects import subject_of
from tests.support.machines.daemon import MSSANTE, REASON, Daemon, command, lay_out

CLAIRE = "claire.martin@a.mssante.fr"
BOX = "cabinet.durand@a.mssante.fr"


@pytest.fixture(scope="module")
def operator_a(tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    return lay_out(tmp_path_factory.mktemp("a"), "a")


def send(daemon: Daemon, text: bytes, to: str = BOX, code: int = 0) -> str:
    """Send a message from Claire; returns the output."""
    letter = daemon.folder / "letter.eml"
    letter.write_bytes(text)
    return daemon.run("message", "send", str(letter), "--from", CLAIRE, "--to", to, code=code)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "mssante: 550 5.6.0 Message is empty"),
        (b"\n\nBonjour\n", "mssante: 550 5.6.0 Message is empty, or begins with an empty line"),
        (b"Subject: x\n\nBonjour\n", "mssante: 550 5.6.0 Message has no From field; give one"),
        (b"From: dr@a.mssante.fr\n\nx\n", "mssante: 550 5.7.1 From names dr@a.mssante.fr, not"),
    ],
)
def test_what_is_not_sent(operator_a: Daemon, text: bytes, says: str) -> None:
    before = operator_a.entries(BOX)
    said = send(operator_a, text, code=1)
    assert said.startswith(says)
    assert said.count("\n") == 1
    assert operator_a.entries(BOX) == before


def test_recipients_do_not_see_bcc(operator_a: Daemon) -> None:
    send(operator_a, f"From: {CLAIRE}\nBcc: {BOX}\n\nBonjour\n".encode())
    body = operator_a.body(operator_a.entries(BOX)[-1])
    assert b"bcc" not in body.lower()
    assert b"\r\nDate: " in body
    assert b"\r\nMessage-ID: <" in body


def test_the_newest_first_and_how_many_more(tmp_path: Path) -> None:
    daemon = lay_out(tmp_path / "a", "a")
    for number in range(5):
        send(daemon, f"From: {CLAIRE}\nSubject: =?utf-8?q?n=C2=B0_{number}?=\n\nx\n".encode())
    lists = ("--config", str(daemon.config), "message", "list", BOX, "--json")

    def listed(*words: str) -> tuple[list[int], str]:
        code, out, err = command(*lists, *words)
        assert code == 0
        return [row["entry"] for row in json.loads(out)], err

    every, said = listed()
    assert (sorted(every, reverse=True), len(every), said) == (every, 5, "")
    assert listed("--limit", "2") == (every[:2], f"3 more, older: --before {every[1]}\n")
    assert listed("--limit", "2", "--before", str(every[1])) == (
        every[2:4],
        f"1 more, older: --before {every[3]}\n",
    )
    assert listed("--limit", "3", "--before", str(every[1])) == (every[2:], "")
    assert listed("--limit", "1", "--after", str(every[2])) == (
        every[:1],
        f"1 more, older: --before {every[0]}\n",
    )
    shown = daemon.run("message", "list", BOX)
    assert "SUBJECT" not in shown
    with_subjects = daemon.run(
        "message", "list", BOX, "--subjects", "--reason", "test"
    ).splitlines()
    assert with_subjects[0].endswith("SUBJECT")
    assert [line[-3:] for line in with_subjects[1:]] == [
        f"° {number}" for number in (4, 3, 2, 1, 0)
    ]


@pytest.mark.parametrize(
    ("octets", "subject"),
    [
        (b"", ""),
        (b"From: x\r\n\r\nSubject: in the body\r\n", ""),
        (b"SUBJECT : a\r\n b\r\n\tc\r\nSubject: second\r\n\r\n", "a b c"),
        (b"Subject: \xc3\xa9t\xc3\xa9 \xff\r\n\r\n", "été \N{REPLACEMENT CHARACTER}"),
        (b"Subject: =?utf-8?b?w6k=?= =?iso-8859-1?q?=E9?=\r\n\r\n", "éé"),
        (b"Subject: =?none-such?q?x?=\r\n\r\n", "=?none-such?q?x?="),
        (b"Subject: =?utf-8?b?w?=\r\n\r\n", "=?utf-8?b?w?="),
        (b"Subject: =?utf-8?q?=FF?=\r\n\r\n", "=?utf-8?q?=FF?="),
    ],
)
def test_subjects_are_decoded_where_they_can_be(octets: bytes, subject: str) -> None:
    assert subject_of(octets) == subject


def test_a_damaged_body_leaves_the_listing_and_the_export_whole(tmp_path: Path) -> None:
    daemon = lay_out(tmp_path / "a", "a")
    config = daemon.config.read_text()
    daemon.config.write_text(config.replace("[tls]", "small_body_bytes = 0\n\n[tls]"))
    for name in ("one", "two", "three"):
        send(daemon, f"From: {CLAIRE}\nSubject: {name}\n\n{name}\n".encode())
    bad = daemon.entries(BOX)[1].message
    with daemon.store() as store:
        path = Path(daemon.folder, "data", "blobs", bad.blob[:2], bad.blob)
        assert store.blobs.exists(bad.blob)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    rows = json.loads(
        daemon.run("message", "list", BOX, "--subjects", "--reason", "test", "--json")
    )
    assert [row["subject"] for row in rows] == ["three", "(body cannot be read)", "one"]
    code, out, err = command(
        "--config", str(daemon.config), "message", "export", "--reason", "test", BOX
    )
    assert code == 1
    assert [line for line in out.splitlines() if line in {"one", "two", "three"}] == [
        "one",
        "three",
    ]
    assert err.startswith(f"2 messages exported\nmssante: message {bad.id} is left out: ")


class TestClose:
    BOX = "cardiologie@a.mssante.fr"

    def state(self, daemon: Daemon) -> str:
        return str(json.loads(daemon.run("mailbox", "show", self.BOX, "--json"))["state"])

    def test_a_script_must_say_yes(self, operator_a: Daemon) -> None:
        words = (
            *MSSANTE,
            "--config",
            str(operator_a.config),
            "mailbox",
            "close",
            self.BOX,
            *REASON,
        )
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        assert done.returncode == 2
        assert b"say so with --yes" in done.stderr
        assert self.state(operator_a) == "active"

    @pytest.mark.parametrize(("answer", "state"), [(b"n\n", "active"), (b"y\n", "closed")])
    def test_a_person_is_asked(self, operator_a: Daemon, answer: bytes, state: str) -> None:
        words = (
            *MSSANTE,
            "--config",
            str(operator_a.config),
            "mailbox",
            "close",
            self.BOX,
            *REASON,
        )
        ours, theirs = pty.openpty()
        os.write(ours, answer)
        done = subprocess.run(words, stdin=theirs, capture_output=True, check=False)
        os.close(ours)
        os.close(theirs)
        assert b"Close cardiologie@a.mssante.fr for good?" in done.stdout + done.stderr
        assert done.returncode == (0 if state == "closed" else 1)
        assert self.state(operator_a) == state
