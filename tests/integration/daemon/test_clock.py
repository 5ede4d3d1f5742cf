"""Real daemon whose clock is set 60 days ahead and then corrected: no mail is lost.

A preloaded library replaces the C library's calls and moves the clock of all processes at once.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from foundation.journal import files as journal_folder
from mailstore.db.database import Database
from mssante_operator.assembly.clock import utc_now
from mssante_operator.settings.model import load
from relay.queue.schema import deliveries, destinations
from tests.crash.site import environment
from tests.support.faults import library, missing
from tests.support.machines.daemon import MSSANTE, Daemon, client, get, lay_out, served
from tests.support.waiting import until_now

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

SIXTY = timedelta(days=60)
BOX, THERE = "claire.martin@a.mssante.fr", "claire.martin@b.mssante.fr"
PATIENCE = 60.0  # the daemon looks at its clock once a second


@dataclass(frozen=True)
class Site:
    """Operator A with a movable clock, operator B (not started), and a file to send."""

    a: Daemon
    b: Daemon
    control: Path
    database: Database

    @property
    def moved(self) -> dict[str, str]:
        """Environment of A's processes."""
        return {"LD_PRELOAD": str(library("clock")), "CLOCK_FILE": str(self.control)}

    def start(self) -> None:
        with environment(**self.moved):
            self.a.start()

    def set(self, ahead: timedelta) -> None:
        """Move the clock, atomically."""
        draft = self.control.with_suffix(".new")
        draft.write_text(f"{ahead // timedelta(seconds=1)}\n")
        draft.replace(self.control)

    def send(self, subject: str) -> str:
        """Send a message from A, with A's clock."""
        file = self.a.folder / "letter.eml"
        file.write_text(f"From: {BOX}\nSubject: {subject}\n\nBonjour\n")
        words = ["message", "send", str(file), "--from", BOX, "--to", THERE]
        said = subprocess.run(
            [*MSSANTE, "--config", str(self.a.config), *words],
            env=os.environ | self.moved,
            check=True,
            stdout=subprocess.PIPE,
        ).stdout.decode()
        return said.split()[2].rstrip(":")

    def dead_until(self) -> datetime | None:
        with self.database.read() as connection:
            return connection.scalar(select(destinations.c.dead_until))

    def attempts(self) -> list[tuple[str, int]]:
        """State and attempts of each queued delivery, the oldest first."""
        d = deliveries.c
        with self.database.read() as connection:
            query = select(d.state, d.attempts).order_by(d.id)
            return [(row.state, row.attempts) for row in connection.execute(query)]

    def checked(self) -> datetime:
        path = self.a.folder / "data" / "whitelist" / "checked"
        return datetime.fromisoformat(path.read_text().strip())

    def arrived(self) -> list[str]:
        bodies = [self.b.body(entry).decode() for entry in self.b.entries(THERE)]
        return sorted(body.partition("Subject: ")[2].partition("\r\n")[0] for body in bodies)

    def logged(self, event: str) -> list[str]:
        """Lines of A's log with this event."""
        return [line for line in self.a.log().splitlines() if f"] {event} " in line]

    def jumps(self) -> int:
        return len(self.logged("clock.jumped"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    b = lay_out(tmp_path / "b", "b")
    a = lay_out(tmp_path / "a", "a", {"b.mssante.fr": b.endpoint})
    a.outbound(poll_seconds=0.1, probe_first_seconds=1, destination_concurrency_first=1)
    with closing(Database(load(a.config).database_url)) as database:
        found = Site(a, b, tmp_path / "clock", database)
        found.set(timedelta(0))
        yield found
        if a.process is not None:
            a.stop()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
def test_a_clock_ahead_and_set_right(site: Site, *, restarted: bool) -> None:
    a = site.a
    site.start()
    site.send("before")
    until_now(lambda: site.dead_until() is not None, PATIENCE)

    site.set(SIXTY)
    until_now(lambda: site.jumps() == 3, PATIENCE)  # worker, courier, maintenance
    until_now(lambda: 'mssante_alarm{name="clock-jumped"} 1.0' in get(a, "/metrics")[1])
    for told in site.logged("clock.jumped"):
        assert "this machine's clock jumped ahead by 60 days" in told
    # Checked at once: the list had looked expired.
    until_now(lambda: site.checked() > utc_now() + SIXTY / 2, PATIENCE)
    key = site.send("while ahead")
    until_now(lambda: (site.dead_until() or site.checked()) > utc_now() + SIXTY / 2, PATIENCE)
    until_now(lambda: len(site.attempts()) == 2, PATIENCE)
    # The waiting message is not 60 days older.
    assert {state for state, _ in site.attempts()} == {"waiting"}

    with served(site.b):
        if restarted:
            a.stop()
        site.set(timedelta(0))
        if restarted:
            site.start()
        else:
            until_now(lambda: site.jumps() == 6, PATIENCE)
        site.send("after")
        until_now(lambda: site.attempts() == [], PATIENCE)
        assert site.arrived() == ["after", "before", "while ahead"]
        until_now(lambda: site.checked() <= utc_now(), PATIENCE)
        assert get(a, "/readyz")[0] == 200
        with client(a, "b") as smtp:
            smtp.sendmail(THERE, [BOX], f"From: {THERE}\r\nSubject: x\r\n\r\nx\r\n")
    # Only the peer's message, no DSN about delay or failure.
    assert len(a.entries(BOX)) == 1
    assert "domains=['b.mssante.fr']" in "".join(site.logged("clock.was_ahead"))
    assert restarted == bool(site.logged("whitelist.checked_ahead"))
    story = [e["event"] for e in json.loads(a.run("trace", key, "--json"))["events"]]
    assert "delivery.attempted" in story
    if not restarted:
        text = "".join(path.read_text() for path in (a.folder / "data" / "trace").rglob("*.jsonl"))
        assert text.count('"event":"clock.jumped"') == 6
        assert '"event":"clock.was_ahead"' in text


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stopped", [False, True], ids=["reloaded", "restarted"])
def test_a_jump_outlives_the_processes_that_saw_it(site: Site, *, stopped: bool) -> None:
    a = site.a
    traces = a.folder / "data" / journal_folder.NAME
    old = journal_folder.hour_file(traces, (utc_now() - timedelta(days=170)).isoformat())
    old.parent.mkdir(parents=True)
    old.write_bytes(b"{}\n")
    site.start()
    until_now(lambda: get(a, "/readyz")[0] == 200, PATIENCE)
    kept = a.folder / "data" / "run" / "clock"
    until_now(kept.exists, PATIENCE)
    if stopped:  # no daemon runs to see it
        a.stop()
        site.set(SIXTY)
        site.start()
    else:
        site.set(SIXTY)
        until_now(lambda: site.jumps() == 3, PATIENCE)
        a.hang_up()
        until_now(lambda: bool(site.logged("reload.done")), PATIENCE)
    # Traces are removed after 200 days, and this one looks 230 days old; a process prunes at start.
    until_now(lambda: 'mssante_alarm{name="clock-jumped"} 1.0' in get(a, "/metrics")[1], PATIENCE)
    # No second log line after a reload.  After a restart the first process to see the jump writes
    # it to the file of the clock; a process that starts later reads it there, and logs nothing.
    assert site.jumps() in ({1, 2, 3} if stopped else {3})
    assert not site.logged("trace.pruned")
    assert old.exists()


def test_the_clock_of_a_process_can_be_moved(tmp_path: Path) -> None:
    """The preloaded library moves the clock as it promises."""
    program = (
        "import os, sys, time; from pathlib import Path; p = Path(sys.argv[1]); p.write_bytes(b'');"
        "print(int(time.time()), int(p.stat().st_mtime));"
        "os.utime(p, (10**9, 10**9)); print(int(p.stat().st_mtime))"
    )
    moved = {"LD_PRELOAD": str(library("clock")), "CLOCK_SHIFT": "-86400"}
    said = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "file")],
        env=os.environ | moved,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout.split()
    now, written, set_to = map(int, said)
    assert abs(now - (utc_now().timestamp() - 86400)) < 60
    assert abs(written - now) < 60
    assert set_to == 10**9
