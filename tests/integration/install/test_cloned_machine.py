"""Two real daemons on one PostgreSQL; the folder of the second is a copy of the first's.

Neither touches the other's attempts in flight: no message is sent twice, and none is lost.
"""

import asyncio
import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.crash.receiver import Receiver, receiver
from tests.crash.site import environment, move
from tests.support.db.databases import PostgresServer
from tests.support.faults import library
from tests.support.faults import missing as no_faults
from tests.support.machines.daemon import Daemon, free_endpoint, get, lay_out
from tests.support.waiting import until_now

FROM, TO = "claire.martin@a.mssante.fr", "dr.durand@b.mssante.fr"
PATIENCE = 120.0  # includes a watch of 15 seconds


@dataclass
class Slow(Receiver):
    """Peer that receives the whole message, and answers only when released."""

    held: int = 0
    lets: bool = field(default=False)

    async def handle_DATA(  # noqa: N802 - aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Answer once released."""
        self.held += 1
        while not self.lets:  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.02)
        return await super().handle_DATA(server, session, envelope)


@dataclass
class Site:
    """Operator a on one machine, which will be copied; the peer that receives its mail."""

    one: Daemon
    peer: Slow
    running: list[Daemon] = field(default_factory=list)

    def start(self, daemon: Daemon) -> None:
        daemon.start()
        self.running.append(daemon)

    def copy(self) -> Daemon:
        """Second machine from a copy of the folder; only its addresses are changed."""
        folder = self.one.folder.with_name("two")
        shutil.copytree(self.one.folder, folder, ignore=_without_fifos)
        (folder / "serve.log").write_text("")
        made = Daemon(folder / self.one.config.name, free_endpoint(), free_endpoint())
        text = made.config.read_text().replace(str(self.one.folder), str(folder))
        for before, after in ((self.one.endpoint, made.endpoint), (self.one.admin, made.admin)):
            assert before in text
            text = text.replace(before, after)
        made.config.write_text(text)
        return made

    def send(self, subject: str) -> None:
        file = self.one.folder / "letter.eml"
        file.write_text(f"From: {FROM}\nSubject: {subject}\n\nBonjour\n")
        self.one.run("message", "send", str(file), "--from", FROM, "--to", TO)

    def copies(self) -> Counter[str]:
        """Number of acknowledgements of the peer for each message."""
        return Counter(one.queue_id for one in self.peer.receipts)

    def drained(self) -> None:
        until_now(lambda: self.one.run("queue", "list", "--json").strip() == "[]", PATIENCE)


def _without_fifos(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if (Path(folder) / name).is_fifo()}


def name_of(daemon: Daemon) -> str:
    return (daemon.folder / "data" / "node").read_text().strip()


def machines(daemon: Daemon) -> dict[str, str]:
    """Name of each known machine to whether it is alive."""
    return {
        one["name"]: one["lives"] for one in json.loads(daemon.run("machine", "list", "--json"))
    }


@pytest.fixture
def site(
    tmp_path: Path,
    postgres_server: PostgresServer,
    postgres_template: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Site]:
    monkeypatch.setattr("tests.crash.receiver.Receiver", Slow)
    (tmp_path / "peer").mkdir()
    with receiver(tmp_path / "peer", "b") as peer:
        assert isinstance(peer, Slow)
        one = lay_out(tmp_path / "one", "a", {peer.domain: peer.endpoint})
        name = postgres_server.create(postgres_template)
        move(one, postgres_server.url(name))
        one.outbound(poll_seconds=0.2, retry_first_seconds=0.2)
        one.config.write_text(one.config.read_text().replace('"console"', '"json"'))
        found = Site(one, peer)
        try:
            yield found
        finally:
            peer.lets = True
            for daemon in found.running:
                if daemon.process is not None:
                    daemon.kill()
            postgres_server.drop(name)


@pytest.mark.timeout(300)
def test_a_copy_of_a_living_machine_sends_nothing_twice(site: Site) -> None:
    one = site.one
    site.start(one)
    site.send("under way")
    until_now(lambda: site.peer.held == 1, PATIENCE)
    two = site.copy()
    name = name_of(one)
    assert name_of(two) == name
    site.start(two)
    until_now(lambda: len(two.events("courier.started")) == 1, PATIENCE)
    (told,) = two.events("machine.copy")
    assert (told["before"], told["machine"]) == (name, name_of(two))
    assert name_of(two) != name
    assert two.events("courier.started")[0]["leases_freed"] == 0
    assert site.peer.held == 1
    assert machines(one) == {name: "yes", name_of(two): "yes"}
    until_now(lambda: 'mssante_alarm{name="machine-copy"} 1.0' in get(two, "/metrics")[1], PATIENCE)
    assert 'mssante_alarm{name="machine-copy"} 0.0' in get(one, "/metrics")[1]
    trace = two.folder / "data" / "trace"
    until_now(  # written a moment later
        lambda: any("machine.copy" in path.read_text() for path in trace.rglob("*.jsonl")), PATIENCE
    )

    site.peer.lets = True
    for number in range(6):
        site.send(f"after {number}")
    site.drained()
    assert len(site.copies()) == 7
    assert set(site.copies().values()) == {1}

    # It keeps its new name, and is ready at once.
    assert two.stop() == 0
    site.start(two)
    until_now(lambda: len(two.events("courier.started")) == 2, PATIENCE)
    assert len(two.events("machine.watching")) == 1
    said = one.run("machine", "retire", name_of(two), code=1)
    assert "still alive" in said
    assert "no such machine" in one.run("machine", "retire", "unknown", code=1)


@pytest.mark.timeout(300)
def test_a_copy_of_a_dead_machine_goes_on_with_its_mail_and_keeps_the_name(site: Site) -> None:
    one = site.one
    site.start(one)
    site.send("under way")
    until_now(lambda: site.peer.held == 1, PATIENCE)
    one.kill()  # in mid-session: the peer has acknowledged nothing
    name = name_of(one)
    two = site.copy()
    site.start(two)
    until_now(lambda: len(two.events("courier.started")) == 1, PATIENCE)
    assert two.events("courier.started")[0]["leases_freed"] == 1
    assert name_of(two) == name
    until_now(lambda: site.peer.held == 2, PATIENCE)

    # The first machine is back while the other has its own mail in flight.
    site.start(one)
    until_now(lambda: len(one.events("courier.started")) == 2, PATIENCE)
    assert one.events("courier.started")[1]["leases_freed"] == 0
    assert one.events("machine.copy")[0]["before"] == name
    assert name_of(one) != name
    assert machines(one) == {name: "yes", name_of(one): "yes"}
    assert site.peer.held == 2
    # The peer may accept a broken-off message all the same; other messages are acknowledged once.
    before = site.copies().total()
    site.peer.lets = True
    site.drained()
    assert site.copies().total() - before <= 2
    assert two.events("machine.copy") == []

    # A machine that is gone for good is retired on the other machine.
    two.kill()
    until_now(lambda: machines(one)[name] == "no", PATIENCE)
    assert "is retired; 0 leases freed" in one.run("machine", "retire", name)
    assert machines(one) == {name_of(one): "yes"}


@pytest.mark.timeout(300)
def test_a_courier_that_was_killed_frees_its_leases_at_once(site: Site) -> None:
    one = site.one
    site.start(one)
    site.send("under way")
    until_now(lambda: site.peer.held == 1, PATIENCE)
    (courier,) = one.processes("courier")
    os.kill(courier, signal.SIGKILL)
    until_now(lambda: site.peer.held == 2, PATIENCE)
    assert [one["leases_freed"] for one in one.events("courier.started")] == [0, 1]
    assert one.events("machine.watching") == []
    site.peer.lets = True
    site.drained()


@pytest.mark.timeout(300)
@pytest.mark.skipif(bool(no_faults()), reason=no_faults())
def test_a_machine_whose_clock_is_apart_sends_nothing_until_it_is_right(site: Site) -> None:
    one, control = site.one, site.one.folder / "clock"
    site.peer.lets = True
    text = one.config.read_text()
    one.config.write_text(text.replace("[storage]", "[storage]\ngc_hours = 0.0003"))

    def ahead(seconds: int) -> None:
        draft = control.with_suffix(".new")
        draft.write_text(f"{seconds}\n")
        draft.replace(control)

    ahead(1800)
    with environment(LD_PRELOAD=str(library("clock")), CLOCK_FILE=str(control)):
        site.start(one)
    assert "storage.max_clock_difference_seconds: this machine's clock is ahead of" in one.log()
    until_now(lambda: bool(one.events("clock.apart")), PATIENCE)
    site.send("waits")
    until_now(lambda: 'mssante_alarm{name="clock-apart"} 1.0' in get(one, "/metrics")[1], PATIENCE)
    (difference,) = [
        float(line.split()[1])
        for line in get(one, "/metrics")[1].splitlines()
        if line.startswith("mssante_clock_difference_seconds ")
    ]
    assert 1790 < difference < 1810
    ready = json.loads(get(one, "/readyz")[1])
    assert [text for text in ready["warnings"] if text.startswith("clock: this machine's clock is")]
    until_now(lambda: bool(one.events("store.unfreed")), PATIENCE)
    assert one.events("store.freed") == []
    # Inbound mail is accepted all the time.
    (row,) = json.loads(one.run("queue", "list", "--json"))
    assert row["attempts"] == 0
    assert site.peer.held == 0

    ahead(0)
    site.drained()
    assert set(site.copies().values()) == {1}
    assert one.events("clock.together")
    until_now(lambda: 'mssante_alarm{name="clock-apart"} 0.0' in get(one, "/metrics")[1], PATIENCE)
