"""Whether abuse leaves a daemon's memory and open files where they were (`make soak`).

Three phases against a real daemon: refused handshakes, messages broken off, idle connections.  Each
is run twice after a warm-up, by which a process has what it keeps for good (pools, caches, arenas
of malloc).  After each run every process must have exactly as many files open as after the warm-up,
and after the second hardly more memory than after the first; no temporary file may be left, and a
message must still go through.  Linux only: it reads /proc.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import uvloop

from mssante_operator.daemon.malloc_trim import TRIM_SECONDS
from tests.support.machines.daemon import Daemon, client, lay_out, served
from tests.support.sessions.abuse import (
    BOX,
    Certificates,
    broken_off,
    each,
    idle_connections,
    refused_handshake,
)
from tests.support.waiting import until_now

LINGER: Final = 7.0  # seconds after which the daemon itself has given up every connection
PATIENCE: Final = 60.0  # seconds for the last connections of a run to end on both sides


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of each phase one run consists of, and how many connections are busy at once.

    `warm_up` is the share of a run that warms up.  `max_growth` is in MB: what the second run may
    add to what a process has for itself.  If each connection left 500 octets behind, less than any
    object with a buffer, 10 000 would add more than the default.
    """

    handshakes: int = 10_000
    messages: int = 10_000
    idle: int = 1_000
    at_once: int = 40
    warm_up: float = 0.3
    max_growth: float = 4.0
    settle: float = TRIM_SECONDS + 2


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one process of the daemon holds; memory in MB, `own` shared with no other process."""

    role: str
    resident: float
    own: float
    files: int


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a phase: what was there afterwards, and at most meanwhile."""

    phase: str
    run: str
    seconds: float
    processes: tuple[Footprint, ...] = ()
    worker_peak: float = 0
    files_peak: int = 0
    drafts_peak: int = 0
    drafts_left: int = 0
    message_passed: bool = False


class Watch:
    """Looks at a daemon from outside, through /proc."""

    def __init__(self, daemon: Daemon) -> None:
        assert daemon.process is not None
        self._tmp = daemon.folder / "data" / "blobs" / "tmp"
        supervisor = daemon.process.pid
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        self._roles = {supervisor: "supervisor"} | {int(pid): _role(int(pid)) for pid in children}
        self.worker_peak, self.files_peak, self.drafts_peak = 0.0, 0, 0

    def look(self) -> None:
        """Note what is the most seen so far."""
        for one in self.footprints():
            if one.role == "worker":
                self.worker_peak = max(self.worker_peak, one.own)
                self.files_peak = max(self.files_peak, one.files)
        self.drafts_peak = max(self.drafts_peak, self.drafts())

    async def keep_looking(self) -> None:
        """Look often, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(0.2)

    def footprints(self) -> tuple[Footprint, ...]:
        """What each process holds now."""
        return tuple(_footprint(pid, role) for pid, role in self._roles.items())

    def files(self) -> dict[str, int]:
        """How many files each process has open now."""
        return {role: _open_files(pid) for pid, role in self._roles.items()}

    def drafts(self) -> int:
        """How many temporary files there are now."""
        return len(list(self._tmp.iterdir()))


def _role(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return words[words.index("mssante_operator.roles") + 1]


def _open_files(pid: int) -> int:
    """Files open but for the database's, whose pool fills at its own pace up to its size."""
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            count += "mssante.db" not in link.readlink().name
    return count


def _footprint(pid: int, role: str) -> Footprint:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    own = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    return Footprint(
        role, round(kilobytes["Rss"] / 1024, 1), round(own / 1024, 1), _open_files(pid)
    )


def _passes(daemon: Daemon) -> bool:
    before = len(daemon.entries(BOX))
    with client(daemon, "b") as smtp:
        smtp.sendmail("dr@b.mssante.fr", BOX, b"From: dr@b.mssante.fr\r\n\r\nhello\r\n")
    return len(daemon.entries(BOX)) == before + 1


def soak(daemon: Daemon, plan: Plan, report: Callable[[Run], None]) -> list[str]:
    """Run all phases against a running daemon; returns what is not as it must be."""
    certificates, port = Certificates(daemon), daemon.port

    def handshakes(_: Watch, share: float) -> Coroutine[Any, Any, None]:
        count = round(plan.handshakes * share)
        return each(count, plan.at_once, lambda n: refused_handshake(port, certificates, n))

    def messages(_: Watch, share: float) -> Coroutine[Any, Any, None]:
        count = round(plan.messages * share)
        return each(count, plan.at_once, lambda n: broken_off(port, certificates, n))

    def idle(watch: Watch, _: float) -> Coroutine[Any, Any, None]:
        return idle_connections(port, certificates, plan.idle, plan.at_once, watch.look)

    phases = {
        "refused handshakes": handshakes,
        "messages broken off": messages,
        "idle connections": idle,
    }
    faults: list[str] = []
    for phase, work in phases.items():
        runs: list[Run] = []
        for name, share in (("warm-up", plan.warm_up), ("first", 1.0), ("second", 1.0)):
            watch = Watch(daemon)
            began = time.monotonic()
            uvloop.run(_watched(work(watch, share), watch))
            seconds = round(time.monotonic() - began, 1)
            run = Run(phase, name, seconds)
            runs.append(_settled(daemon, watch, run, runs, plan.settle))
            report(runs[-1])
        faults += judge(runs, plan.max_growth)
    return faults


async def _watched(work: Coroutine[Any, Any, None], watch: Watch) -> None:
    looking = asyncio.create_task(watch.keep_looking())
    try:
        await work
    finally:
        looking.cancel()


def _settled(daemon: Daemon, watch: Watch, run: Run, before: list[Run], settle: float) -> Run:
    """What is there once the last connections have ended and freed memory was given back.

    The warm-up's files are the measure.
    """
    passed = _passes(daemon)
    wanted = {one.role: one.files for one in before[0].processes} if before else None
    since = time.monotonic()

    def over() -> bool:
        waited = time.monotonic() - since
        if wanted is None:
            return waited > max(LINGER, settle)
        return waited > settle and watch.files() == wanted and not watch.drafts()

    with suppress(TimeoutError):  # the judge will say what is left
        until_now(over, PATIENCE)
    return replace(
        run,
        processes=watch.footprints(),
        worker_peak=watch.worker_peak,
        files_peak=watch.files_peak,
        drafts_peak=watch.drafts_peak,
        drafts_left=watch.drafts(),
        message_passed=passed,
    )


def judge(runs: list[Run], max_growth: float) -> list[str]:
    """What is wrong with the runs of one phase; the first of them warmed up."""
    measure, *counted = runs
    faults = []
    for run in counted:
        what = f"{run.phase}, {run.run} run"
        if run.drafts_left:
            faults.append(f"{what}: {run.drafts_left} temporary files left")
        if not run.message_passed:
            faults.append(f"{what}: no message goes through any more")
        faults += [
            f"{what}: {now.role} has {now.files} files open, had {was.files}"
            for was, now in zip(measure.processes, run.processes, strict=True)
            if now.files != was.files
        ]
    *_, first, second = runs
    return faults + [
        f"{second.phase}: {now.role} grew from {was.own} to {now.own} MB in the second run"
        for was, now in zip(first.processes, second.processes, strict=True)
        if now.own - was.own > max_growth
    ]


def _print(run: Run) -> None:
    print(
        f"{run.phase}, {run.run}: {run.seconds} s, worker at most {run.worker_peak} MB and "
        f"{run.files_peak} files, at most {run.drafts_peak} drafts on disk, {run.drafts_left} left"
    )
    for one in run.processes:
        print(
            f"    {one.role:<12} {one.resident:>7} MB resident {one.own:>7} MB its own "
            f"{one.files:>5} files open"
        )
    sys.stdout.flush()


def raise_limits(daemon: Daemon, connections: int) -> None:
    """Let the configuration admit so many connections from one address and peer."""
    keys = ("max_connections", "max_connections_per_address", "max_connections_per_peer")
    lines = "".join(f"{key} = {connections}\n" for key in keys)
    text = daemon.config.read_text()
    daemon.config.write_text(text.replace("[inbound]\n", f"[inbound]\n{lines}"))


def main() -> None:
    """Soak as the command line says; exit code 1 if something was left."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--handshakes", type=int, default=Plan().handshakes)
    parser.add_argument("--messages", type=int, default=Plan().messages)
    parser.add_argument("--idle", type=int, default=Plan().idle)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    plan = Plan(given.handshakes, given.messages, given.idle)
    runs: list[Run] = []

    def report(run: Run) -> None:
        runs.append(run)
        if not given.json:
            _print(run)

    with tempfile.TemporaryDirectory(prefix="mssante-soak-") as folder:
        daemon = lay_out(Path(folder) / "a", "a", workers=1)
        raise_limits(daemon, plan.idle + 100)
        with served(daemon):
            faults = soak(daemon, plan, report)
    if given.json:
        print(json.dumps({"runs": [asdict(run) for run in runs], "faults": faults}))
    else:
        print("\n".join(faults) or "Nothing is left.")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
