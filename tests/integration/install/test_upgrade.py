"""Upgrade of a data folder of version 0.1.0: all content is there, and the daemon works.

The folder is made by the code of that version, from the history (tools/past_version.py).
"""

import hashlib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text as sql
from sqlalchemy.exc import IntegrityError

from mssante_operator.assembly.database.schema_revision import REVISION
from tests.support.machines.daemon import Daemon, command, free_endpoint, served
from tests.support.waiting import until_now
from tools.past_version import PastVersionError, make, unpack

SENDER = "claire.martin@a.mssante.fr"
PEER = "dr.pair@pair.mssante.fr"


@dataclass(frozen=True)
class Past:
    """Operator of version 0.1.0, and the content that must be kept."""

    daemon: Daemon
    expected: dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def history(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip if the past version is not available."""
    try:
        unpack(tmp_path_factory.mktemp("code"))
    except PastVersionError as error:
        pytest.skip(str(error))


@pytest.fixture
def past(dialect: str, empty_database_url: str, tmp_path: Path) -> Past:
    url = empty_database_url if dialect == "postgresql" else ""
    folder = tmp_path / "a"
    make(folder, url)
    config = folder / "mssante.toml"
    keys = tomllib.loads(config.read_text(encoding="utf-8"))
    daemon = Daemon(config, keys["inbound"]["listen"][0], keys["admin"]["listen"])
    return Past(daemon, json.loads((folder / "expected.json").read_text(encoding="utf-8")))


def upgraded(past: Past) -> Daemon:
    """The same operator, under the present code."""
    daemon = past.daemon
    assert REVISION in daemon.run("db", "upgrade") + daemon.run("db", "current")
    return daemon


def check_messages(past: Past, daemon: Daemon) -> None:
    """Check: every message is there, unchanged."""
    assert len(past.expected["messages"]) == 2
    for address, messages in past.expected["messages"].items():
        assert len(messages) == 4
        listed = json.loads(daemon.run("message", "list", address, "--json"))
        assert {one["id"] for one in listed} == set(messages)
        for message_id, digest in messages.items():
            _, octets, _ = command(
                "--config",
                str(daemon.config),
                "message",
                "show",
                message_id,
                "--content",
                *("--reason", "test"),
            )
            assert hashlib.sha256(octets.encode()).hexdigest() == digest
    assert json.loads(daemon.run("keys", "list", "--json")) == past.expected["keys"]
    daemon.run("store", "check")


def check_mailboxes(past: Past, daemon: Daemon) -> None:
    """Check: domains and mailboxes are as they were, and can be used by today's commands."""
    domains = json.loads(daemon.run("domain", "list", "--json"))
    assert [{"tenant": "operator", **one} for one in past.expected["domains"]] == [
        {key: one[key] for key in ("tenant", "name", "created_at")} for one in domains
    ]
    before = {one["address"]: one for one in past.expected["mailboxes"]}
    now = {one["address"]: one for one in json.loads(daemon.run("mailbox", "list", "--json"))}
    assert now.keys() == before.keys()
    assert {one["state"] for one in before.values()} == {"active", "suspended", "closed"}
    assert {one["type"] for one in before.values()} == {"PER", "ORG", "APP", "CAB"}
    new = {"red_list": False, "no_reply": False, "aliases": [], "holders": []}
    for address, box in now.items():
        used = before[address].pop("used")  # bodies alone; today also the fields of their arrival
        assert used <= box["used"] <= used + 1000 * (used > 0)
        assert {key: box[key] for key in before[address]} == before[address]
        assert {key: box[key] for key in new} == new
        assert not any(
            value for key, value in box.items() if key not in {*before[address], *new, "used"}
        )
    # DOMAIN §9.33: columns were added to the table, and its trigger is there.
    for statement in (
        "UPDATE mailboxes SET type = 'ORG' WHERE type = 'PER'",
        "UPDATE mailboxes SET local_part = 'x'",
        "UPDATE mailboxes SET address = 'x' || address",
        "UPDATE mailboxes SET domain_id = domain_id + 1",
    ):
        with (
            daemon.store() as store,
            pytest.raises(IntegrityError, match="never change"),
            store.database.write() as connection,
        ):
            connection.execute(sql(statement))


def check_acts(daemon: Daemon) -> None:
    """Check: mailboxes of that version take each act of this version."""
    run = daemon.run
    lacking = json.loads(run("mailbox", "list", "--without-responsible", "--json"))
    assert {one["address"] for one in lacking} == {"cardiologie@a.mssante.fr", "garde@a.mssante.fr"}
    run("mailbox", "set", "garde@a.mssante.fr", "--responsible", "Anne Petit", "--rank", "1")
    run("mailbox", "resume", "dr.éva+b@a.mssante.fr")
    # A description that a PER mailbox had then can be taken away, and no other given.
    run("mailbox", "set", "dr.éva+b@a.mssante.fr", "--description", "x", code=1)
    run("mailbox", "set", "dr.éva+b@a.mssante.fr", "--description", "", "--red-list")
    run("mailbox", "set", "pratique@vieux.mssante.fr", "--holder", "10000005479")
    run("mailbox", "set", "labo@a.mssante.fr", "--no-reply")
    run("mailbox", "alias", "add", "repris@a.mssante.fr", "ancien@vieux.mssante.fr")
    run("mailbox", "delete", "ferme@a.mssante.fr", "--yes", "--reason", "x")
    assert "is closed" in run("mailbox", "restore", "ferme@a.mssante.fr", "--reason", "x")
    again = ("mailbox", "add", "FERME@a.mssante.fr", "--type", "PER", "--rpps", "10000005479")
    assert "exists already" in run(*again, code=1)
    run("audit", "verify")


def check_queue(past: Past, daemon: Daemon) -> None:
    """Check: the queue is unchanged."""
    before = {one["id"]: one for one in past.expected["queue"]}
    now = {one["id"]: one for one in json.loads(daemon.run("queue", "list", "--json"))}
    assert {one["attempts"] for one in before.values()} == {0, 1}
    for number, row in before.items():
        assert {key: now[number].get(key) for key in row} == row
    assert now.keys() == before.keys()


def neighbour(past: Past, tmp_path: Path) -> Daemon:
    """Peer that the past version could not reach, run with the present code."""
    folder, pki = tmp_path / "pair", past.daemon.folder / "pki"
    (folder / "data").mkdir(parents=True, mode=0o700)
    endpoint, admin = free_endpoint(), free_endpoint()
    text = past.daemon.config.read_text(encoding="utf-8")
    text = text[: text.index("[outbound]")]
    for before, after in {
        "smtp.a.mssante.fr": "smtp.pair.mssante.fr",
        'postmaster = "cardiologie@a.mssante.fr"\n': "",
        "pki/server.": "pki/peer.",
        '"pki/': f'"{pki}/',
        '"whitelist/': f'"{past.daemon.folder}/whitelist/',
        past.daemon.endpoint: endpoint,
        past.daemon.admin: admin,
    }.items():
        assert before in text
        text = text.replace(before, after)
    lines = [one for one in text.splitlines() if not one.startswith("database =")]
    (folder / "mssante.toml").write_text("\n".join(lines), encoding="utf-8")
    daemon = Daemon(folder / "mssante.toml", endpoint, admin)
    daemon.run("db", "upgrade")
    daemon.run("domain", "add", "pair.mssante.fr")
    daemon.run("mailbox", "add", PEER, "--type", "PER", "--rpps", "10000001916")
    daemon.run(
        "mailbox",
        "add",
        PEER.replace("dr.pair", "retenu"),
        "--type",
        "PER",
        "--rpps",
        "10000005479",
    )
    return daemon


def check_delivery(past: Past, daemon: Daemon, peer: Daemon) -> None:
    """Check: each waiting message reaches the peer once, and new mail flows."""
    text = daemon.config.read_text(encoding="utf-8")
    route = text[text.index('"pair.mssante.fr" =') :]
    daemon.config.write_text(text.replace(route, f'"pair.mssante.fr" = "{peer.endpoint}"\n'))
    waiting = [one for one in past.expected["queue"] if one["recipients"] == [PEER]]
    assert len(waiting) == 5
    with served(peer), served(daemon):
        daemon.run("queue", "retry", "--all", "--reason", "upgrade")
        daemon.run("queue", "release", "--all", "--reason", "upgrade")
        until_now(lambda: json.loads(daemon.run("queue", "list", "--json")) == [])
        sizes = sorted(one.message.size for one in peer.entries(PEER))
        # The original octets, with trace fields on top.
        assert len(sizes) == len(waiting)
        assert len(peer.entries(PEER.replace("dr.pair", "retenu"))) == 1
        # A new message under the old keys and rows.
        daemon.run(
            "message", "send", str(daemon.folder / "letter.eml"), "--from", SENDER, "--to", PEER
        )
        until_now(lambda: len(peer.entries(PEER)) == len(waiting) + 1)


@pytest.mark.timeout(360)  # two versions, two daemons and thirty commands, on a busy machine too
def test_all_is_kept_and_goes_on(past: Past, tmp_path: Path) -> None:
    # One test for all: the folder takes seconds to make.
    daemon = upgraded(past)
    check_mailboxes(past, daemon)
    check_messages(past, daemon)
    check_queue(past, daemon)
    check_acts(daemon)
    check_delivery(past, daemon, neighbour(past, tmp_path))
