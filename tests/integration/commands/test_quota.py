"""Quotas of mailboxes on the command line."""

import json
from pathlib import Path

import pytest

from tests.support.machines.daemon import RESPONSIBLE, Daemon, lay_out

BOX = "urgences@a.mssante.fr"
ADD = ("mailbox", "add", BOX, "--type", "ORG", "--finess", "750000002", *RESPONSIBLE)


@pytest.fixture
def operator_a(tmp_path: Path) -> Daemon:
    return lay_out(tmp_path / "a", "a")


def shown(daemon: Daemon) -> tuple[int | None, int]:
    """Quota and used octets of the mailbox; the listing must show the same."""
    record = json.loads(daemon.run("mailbox", "show", BOX, "--json"))
    for words in ((), ("--domain", "a.mssante.fr")):
        rows = json.loads(daemon.run("mailbox", "list", "--json", *words))
        (row,) = [row for row in rows if row["address"] == BOX]
        assert row.items() <= record.items()
        assert [row["quota"] for row in rows if row["address"] != BOX] == [None] * 4
    return record["quota"], record["used"]


def test_a_quota_is_set_shown_and_removed(operator_a: Daemon) -> None:
    operator_a.run(*ADD, "--quota", "2G")
    assert shown(operator_a) == (2 * 1024**3, 0)
    said = operator_a.run("mailbox", "quota", BOX, "500m")
    assert said == f"{BOX} has a quota of {500 * 1024**2} octets\n"
    assert shown(operator_a) == (500 * 1024**2, 0)
    assert operator_a.run("mailbox", "quota", BOX, "none") == f"{BOX} has no quota\n"
    assert shown(operator_a) == (None, 0)
    listing = operator_a.run("mailbox", "list")
    assert listing.split("\n")[0].split() == [
        *("ADDRESS", "TYPE", "STATE", "IDENTIFIER", "QUOTA", "USED", "DESCRIPTION"),
    ]


def test_what_a_mailbox_holds_counts(operator_a: Daemon, tmp_path: Path) -> None:
    operator_a.run(*ADD, "--quota", "100")
    letter = tmp_path / "letter.eml"
    header = b"From: claire.martin@a.mssante.fr\r\nDate: d\r\nMessage-ID: i\r\n\r\n"
    letter.write_bytes(header.ljust(98, b"x") + b"\r\n")
    send = ("message", "send", str(letter), "--from", "claire.martin@a.mssante.fr", "--to", BOX)
    operator_a.run(*send)
    quota, used = shown(operator_a)
    assert (quota, used > 100) == (100, True)  # the fields added on arrival count too
    assert "452 4.2.2 Mailbox full, try again later" in operator_a.run(*send, code=1)
    operator_a.run("mailbox", "quota", BOX, str(used + 100))
    operator_a.run(*send)
    assert shown(operator_a) == (used + 100, 2 * used)


@pytest.mark.parametrize("size", ["", "x", "1.5G", "-1", "2GB", "1000000T", "None", "²", "1e3"])
def test_what_is_no_size(operator_a: Daemon, size: str) -> None:
    for words in ((*ADD, "--quota", size), ("mailbox", "quota", "--", BOX, size)):
        said = operator_a.run(*words, code=2)
        assert "is not a size; write octets, 500M or 2G" in said


def test_a_quota_for_nobody(operator_a: Daemon) -> None:
    said = operator_a.run("mailbox", "quota", "nobody@a.mssante.fr", "1G", code=1)
    assert "there is no mailbox nobody@a.mssante.fr" in said
