"""New white list on one of two machines: the other's older list must not return mail."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest

from mailstore.s3.bucket import BucketPlace
from mssante_operator.services.local_submission import open_submitter
from mssante_operator.settings.model import load
from relay.queue.list_wakeup import NOT_CERTAIN
from relay.queue_admin.views import DeliverySummary
from relay.smtp.address import parse_address
from tests.support.db.databases import PostgresServer
from tests.support.delivery.listed import listing
from tests.support.lists.list_files import FULL, put, signed
from tests.support.machines.cluster import lay_out_machines
from tests.support.machines.daemon import RESPONSIBLE, Daemon, client, get, lay_out, served
from tests.support.machines.list_machines import refresher_of
from tests.support.storage.object_server import ObjectServer
from tests.support.waiting import until_now

MARTIN = "claire.martin@a.mssante.fr"
ACCUEIL = "accueil@d.mssante.fr"
MANY = 20


@dataclass(frozen=True)
class TwoMachines:
    """Operator A on two machines; operator B, which serves the new domain."""

    one: Daemon
    two: Daemon
    b: Daemon

    def queue(self) -> list[DeliverySummary]:
        with self.two.store() as store, store.database.read() as connection:
            return listing(connection)


@pytest.fixture
def machines(
    tmp_path: Path,
    object_server: ObjectServer,
    postgres_server: PostgresServer,
    postgres_template: str,
) -> Iterator[TwoMachines]:
    place: BucketPlace = object_server.place(prefix="mail/list")
    name = postgres_server.create(postgres_template)
    b = lay_out(tmp_path / "b", "b")
    b.run("domain", "add", "d.mssante.fr")
    b.run("mailbox", "add", ACCUEIL, "--type", "ORG", "--finess", "750000002", *RESPONSIBLE)
    routes = {"d.mssante.fr": b.endpoint}
    one, two = lay_out_machines(tmp_path, place, postgres_server.url(name), routes=routes)
    yield TwoMachines(one, two, b)
    postgres_server.drop(name)


def test_mail_for_a_domain_that_was_just_added_is_not_returned(machines: TwoMachines) -> None:
    # The fault: 17 of 20 messages failed for good on the machine with the older list.
    one, two, b = machines.one, machines.two, machines.b
    with served(b), served(two):
        until_now(lambda: get(two, "/readyz")[0] == 200)
        # Machine one has just adopted it and not shared it yet.
        put(one, signed(1, **FULL, d="b"))
        refresher_of(one).check()
        text = f"From: {MARTIN}\r\nSubject: x\r\n\r\nBonjour\r\n".encode()
        with open_submitter(load(one.config)) as submitter:
            for _ in range(MANY):
                submitter.submit(BytesIO(text), parse_address(MARTIN), [parse_address(ACCUEIL)])
        # The courier of machine two tries all messages and returns none.
        until_now(lambda: all(row.attempts and not row.in_flight for row in machines.queue()))
        rows = machines.queue()
        assert [row.state for row in rows] == ["waiting"] * MANY
        assert all(row.last_error.startswith(NOT_CERTAIN) for row in rows)
        # Once it is shared, machine two adopts it by itself, and the waiting mail leaves.
        one.run("whitelist", "refresh")
        until_now(lambda: len(b.entries(ACCUEIL)) == MANY)
        until_now(lambda: machines.queue() == [])
        assert two.entries(MARTIN) == []  # no DSN to any sender
        adopted = json.loads(two.run("whitelist", "history", "--json"))[-1]
        status = json.loads(one.run("whitelist", "status", "--json"))
        assert (adopted["source"], adopted["digest"]) == ("shared", status["digest"])
        assert "mssante_whitelist_behind 0.0" in get(two, "/metrics")[1]


def test_while_a_list_is_refused_nobody_is_turned_away_for_good(machines: TwoMachines) -> None:
    # Too many domains vanish for machine two; machine one has no such limit.
    one, two = machines.one, machines.two
    text = one.config.read_text()
    one.config.write_text(text.replace("[whitelist]\n", "[whitelist]\nmax_shrink = 1.0\n"))
    with served(two):
        assert asked_by_a_stranger(two).startswith("554 5.7.1")
        put(one, signed(1, a="a", d="b"))
        one.run("whitelist", "refresh")
        until_now(lambda: 'mssante_alarm{name="list-behind"} 1.0' in get(two, "/metrics")[1])
        until_now(lambda: asked_by_a_stranger(two).startswith("451 4.7.1"))
        assert json.loads(two.run("whitelist", "status", "--json"))["behind"] is True
        with client(two, "c") as smtp:  # a domain on the list in force
            smtp.sendmail("x@c.mssante.fr", [MARTIN], b"Subject: x\r\n\r\nBonjour\r\n")


def asked_by_a_stranger(daemon: Daemon) -> str:
    with client(daemon, "intruder") as smtp:
        smtp.ehlo()
        code, said = smtp.mail("x@intrus.example")
    return f"{code} {said.decode()}"
