"""PostgreSQL or S3 unreachable, before and after the start of the daemon, with processes killed.

One daemon for all cases: it never ends, reports why it waits, and recovers by itself once the
service is back.
"""

import json
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest

from mssante_operator.daemon.supervisor import ROLES
from tests.support.db.databases import PostgresServer
from tests.support.db.outage import Outage, before_port, before_postgres
from tests.support.machines.cluster import MARTIN, body, keep_in_bucket, seed_mailboxes, send
from tests.support.machines.daemon import Daemon, get, lay_out, served
from tests.support.storage.object_server import ObjectServer
from tests.support.waiting import until_now

# A service that is frozen: by the wait of the start, and by the driver.
SILENT = ("no answer from the store", "not answered")

STOP_SECONDS = 2.0


@dataclass
class Site:
    """Operator A, whose PostgreSQL and S3 are behind doors; operator B."""

    a: Daemon
    b: Daemon
    database: Outage
    bucket: Outage
    sent: int = 0

    def door(self, name: str) -> Outage:
        return {"database": self.database, "bucket": self.bucket}[name]

    def mend(self) -> None:
        self.database.mend()
        self.bucket.mend()

    def problems(self) -> list[str]:
        """Problems in /readyz, which must answer in time even if a service hangs."""
        asked = time.monotonic()
        code, text = get(self.a, "/readyz")
        assert time.monotonic() - asked < 10
        answer = json.loads(text)
        assert answer["ready"] == (code == 200) == (not answer["problems"])
        assert get(self.a, "/healthz")[0] == 200
        assert len(answer["problems"]) == len(set(answer["problems"])), "each is told once"
        return list(answer["problems"])

    def says(self, *words: str) -> bool:
        """Whether one problem in /readyz has all these words."""
        return any(all(word in one for word in words) for one in self.problems())

    def kill_all(self) -> None:
        for role in ROLES:
            for pid in self.a.processes(role):
                os.kill(pid, signal.SIGKILL)

    def is_well(self) -> None:
        """Check: ready within seconds, and mail goes in and out, small and large."""
        until_now(lambda: not self.problems())
        for octets in (500, 200_000):
            self.sent += 1
            send(self.a, body(self.sent, octets))
            assert self.a.body(self.a.entries(MARTIN)[-1]) == body(self.sent, octets)
        file = self.a.folder / "letter"
        text = "Bonjour\n" * 30_000
        file.write_text(f"From: {MARTIN}\nSubject: {self.sent}\n\n{text}")
        before = len(self.b.entries("claire.martin@b.mssante.fr"))
        to = ("--to", "claire.martin@b.mssante.fr")
        self.a.run("message", "send", str(file), "--from", MARTIN, *to)
        until_now(lambda: len(self.b.entries("claire.martin@b.mssante.fr")) == before + 1)
        assert self.a.process is not None
        assert self.a.process.poll() is None


def greeting(daemon: Daemon) -> bytes:
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=20) as asking:
        return asking.makefile("rb").readline()


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
    postgres_template: str,
    object_server: ObjectServer,
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("outage")
    with ExitStack() as stack:
        name = postgres_server.create(postgres_template)
        stack.callback(postgres_server.drop, name)
        database, url = stack.enter_context(before_postgres(postgres_server.url(name)))
        bucket = stack.enter_context(before_port(object_server.port))
        b = stack.enter_context(served(lay_out(folder / "b", "b")))
        a = lay_out(folder / "a", "a", {"b.mssante.fr": b.endpoint})
        place = replace(object_server.place(), endpoint=f"http://127.0.0.1:{bucket.port}")
        keep_in_bucket(a, place, url)
        seed_mailboxes(url)
        text = a.config.read_text().replace('"console"', '"json"')
        a.config.write_text(text.replace("[process]", f"[process]\nstop_seconds = {STOP_SECONDS}"))
        yield Site(a, b, database, bucket)


@pytest.fixture
def running(site: Site) -> Iterator[Site]:
    """The site with A's daemon running."""
    site.mend()
    with served(site.a):
        site.is_well()
        yield site


def waits(daemon: Daemon, since: int) -> list[tuple[str, str]]:
    return [(one["role"], one["why"]) for one in daemon.events("process.waits")[since:]]


def test_all_processes_die_while_something_is_away(running: Site) -> None:
    for name in ("database", "bucket"):
        for how in ("refuse", "freeze"):
            die_amid(running, name, how)
    assert "cannot start" not in running.a.log()


def die_amid(site: Site, name: str, how: str) -> None:
    """Make one service fail in one way, and kill every process meanwhile."""
    a = site.a
    seen, ready = len(a.events("process.waits")), len(a.events("daemon.ready"))
    over = len(a.events("process.waited"))
    getattr(site.door(name), how)()
    site.kill_all()
    whys = (name,) if how == "refuse" else SILENT
    until_now(lambda: all(any(site.says(f"{role}: ", why) for why in whys) for role in ROLES))
    assert greeting(a).startswith(b"421 4.3.0 ")
    if how == "refuse":
        assert 'name="process-waits"} 1.0' in get(a, "/metrics")[1]
    until_now(lambda: {role for role, _ in waits(a, seen)} == set(ROLES))
    site.mend()
    until_now(lambda: len(a.events("daemon.ready")) > ready)
    ended = a.events("process.waited")[over:]
    told = Counter((one["role"], one["why"]) for one in ended)
    assert Counter(waits(a, seen)) == told, "a reason is told again only after it was over"
    site.is_well()


def test_a_database_that_freezes_under_it(running: Site) -> None:
    seen = running.a.processes()
    running.database.freeze()
    until_now(lambda: running.says("store: ", "no answer from"))
    assert get(running.a, "/metrics")[0] == 200
    # A reload that cannot reach the store changes nothing.
    running.a.hang_up()
    until_now(lambda: len(running.a.events("reload.refused")) == 1)
    (refused,) = running.a.events("reload.refused")
    assert "old configuration still in force" in refused["why"]
    assert running.a.processes() == seen
    running.mend()
    running.is_well()
    assert running.a.processes() == seen
    # The stop is not delayed either.
    running.database.freeze()
    until_now(lambda: running.says("store: "))
    begun = time.monotonic()
    assert running.a.stop() == 0
    assert time.monotonic() - begun < STOP_SECONDS + 10
    assert running.a.events("process.stuck") == []


def test_what_is_away_when_it_starts(site: Site) -> None:
    a = site.a
    site.database.refuse()
    site.bucket.freeze()
    with served(a):  # it announces its addresses all the same, without the store
        assert site.says("worker: ", "database")
        assert greeting(a).startswith(b"421 4.3.0 ")
        site.database.mend()
        until_now(lambda: any(site.says("courier: ", why) for why in (*SILENT, "bucket")))
        site.bucket.mend()
        site.is_well()
        # The loss of the key file does not end a running daemon either.
        keys = a.folder / "data" / "keys"
        keys.rename(keys.with_name("away"))
        site.kill_all()
        until_now(lambda: all(site.says(f"{role}: ", "keys: ", "no such file") for role in ROLES))
        keys.with_name("away").rename(keys)
        site.is_well()


def test_what_is_wrong_in_itself_ends_a_start_even_then(site: Site) -> None:
    site.database.refuse()
    keys = site.a.folder / "data" / "keys"
    keys.rename(keys.with_name("away"))
    try:
        said = site.a.run("serve", code=1)
    finally:
        keys.with_name("away").rename(keys)
    assert said.startswith("mssante: ")
    assert said.count("\n") == 1
    assert "storage.keys" in said


def test_a_command_says_so_in_one_line(site: Site) -> None:
    for how in ("refuse", "freeze"):
        for door in (site.database, site.bucket):
            getattr(door, how)()
            begun = time.monotonic()
            said = site.a.run("mailbox", "list", code=1)
            assert time.monotonic() - begun < 30
            assert said.startswith("mssante: ")
            assert said.count("\n") == 1
            assert "DOUBT" in site.a.run("config", "check")
            site.mend()
