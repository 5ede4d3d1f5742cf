"""The daemon warns a mailbox that is nearly full, and the domain's quota is set by a command."""

import json
from pathlib import Path

import pytest

from tests.support.machines.daemon import RESPONSIBLE, Daemon, get, lay_out, served
from tests.support.waiting import until_now

pytestmark = pytest.mark.timeout(300)

BOX, SENDER, DOMAIN = "bloc@a.mssante.fr", "claire.martin@a.mssante.fr", "a.mssante.fr"
SIZE = 100_000  # octets of a letter


@pytest.fixture
def operator_a(tmp_path: Path) -> Daemon:
    daemon = lay_out(tmp_path / "a", "a")
    daemon.run(
        *("mailbox", "add", BOX, "--type", "ORG", "--finess", "2A0000154", *RESPONSIBLE),
        *("--quota", str(SIZE + SIZE // 8)),
    )
    return daemon


def send(daemon: Daemon, folder: Path, *, code: int = 0) -> str:
    letter = folder / "letter.eml"
    header = f"From: {SENDER}\r\nDate: d\r\nMessage-ID: i\r\n\r\n".encode()
    letter.write_bytes(header + (b"x" * 78 + b"\r\n") * ((SIZE - len(header)) // 80))
    return daemon.run("message", "send", str(letter), "--from", SENDER, "--to", BOX, code=code)


def reached(daemon: Daemon, level: int, of: str) -> bool:
    """Whether a round has counted one of them at this level."""
    return f'mssante_quota_reached{{level="{level}",of="{of}"}} 1.0' in get(daemon, "/metrics")[1]


def test_the_daemon_warns_a_mailbox_once(operator_a: Daemon, tmp_path: Path) -> None:
    send(operator_a, tmp_path)
    operator_a.run("domain", "quota", DOMAIN, str(SIZE))
    with served(operator_a) as daemon:
        until_now(lambda: len(daemon.entries(BOX)) == 2)
        until_now(lambda: reached(daemon, 80, "mailbox"))
        until_now(lambda: reached(daemon, 95, "domain"))
    log = operator_a.log()
    assert log.count("mailbox.quota_reached") == log.count("domain.quota_reached") == 1
    notice = operator_a.body(operator_a.entries(BOX)[-1])
    assert b"Auto-Submitted: auto-generated" in notice
    with served(operator_a) as daemon:  # a new process tells nothing again
        until_now(lambda: reached(daemon, 80, "mailbox"))
    assert len(operator_a.entries(BOX)) == 2


def test_the_quota_of_a_domain_is_set_shown_and_removed(operator_a: Daemon, tmp_path: Path) -> None:
    send(operator_a, tmp_path)
    said = operator_a.run("domain", "quota", DOMAIN, "500m")
    assert said == f"{DOMAIN} has a quota of {500 * 2**20} octets\n"
    operator_a.run("domain", "quota", DOMAIN, str(SIZE))
    (shown,) = json.loads(operator_a.run("domain", "list", "--json"))
    assert (shown["quota"], shown["used_percent"]) == (SIZE, 100 * shown["used"] // SIZE)
    assert "452 4.2.2 Mailbox full" in send(operator_a, tmp_path, code=1)
    listing = operator_a.run("domain", "list").split("\n")
    assert listing[0].split() == ["NAME", "TENANT", "CREATED", "AT", "QUOTA", "USED", "PERCENT"]
    assert operator_a.run("domain", "quota", DOMAIN, "none") == f"{DOMAIN} has no quota\n"
    (shown,) = json.loads(operator_a.run("domain", "list", "--json"))
    assert shown["quota"] is shown["used"] is shown["used_percent"] is None
    assert "is not a size" in operator_a.run("domain", "quota", DOMAIN, "x", code=2)
    assert "not hosted here" in operator_a.run("domain", "quota", "x.mssante.fr", "1G", code=1)
    events = json.loads(operator_a.run("audit", "search", "--event", "domain.quota_set", "--json"))
    assert len(events) == 3
