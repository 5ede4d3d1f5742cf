"""Whether abuse leaves a daemon's memory and open files where they were (`make soak`).

Three phases against a real daemon: refused handshakes, messages broken off, idle connections.  Each
is run three times, the first to warm up: what a process keeps for good (pools, caches, arenas of
malloc) it has by then.  After each of the others every process must have exactly as many files open
as after the first, and hardly more memory; no temporary file may be left, and a message must still
go through.  Linux only: it reads /proc.
"""

import argparse
import asyncio
import json
import ssl
import sys
import tempfile
import time
import warnings
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import uvloop

from mssante_operator import runtime
from mssante_operator.bootstrap import TrustSpace, write_identity
from tests.fuzz.wire import Damage, Wire
from tests.support.daemon import Daemon, client, federation, lay_out, served
from tests.support.waiting import until_now

BOX: Final = "claire.martin@a.mssante.fr"
HOST: Final = "127.0.0.1"
AT_ONCE: Final = 40  # connections that the first two phases keep open
PATIENCE: Final = 60.0  # seconds for the last connections of a run to end on both sides
ON_DISK: Final = 300_000  # octets of a message that does not stay in memory (256 KiB do)
# What a run may add to what one process has for itself.  A leak shows in both runs and grows with
# their length: 10 000 times the smallest thing a connection could leave, some 500 octets, is more.
MAX_GROWTH: Final = 4.0  # MB


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of each phase one run consists of."""

    handshakes: int = 10_000
    messages: int = 10_000
    idle: int = 1_000


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
    processes: tuple[Footprint, ...]
    worker_peak: float
    files_peak: int
    drafts_peak: int
    drafts_left: int
    message_passed: bool


class Certificates:
    """TLS contexts of clients, made once."""

    def __init__(self, daemon: Daemon) -> None:
        stranger = TrustSpace.create(runtime.clock())
        pki = daemon.folder / "pki"
        credential = stranger.enrol("smtp.b.mssante.fr", "OPERATEUR B")
        write_identity(credential, stranger.hierarchy, pki, "stranger")
        self.good = _context(*daemon.identity("b"))
        self.untrusted = [
            _context(pki / "stranger.pem", pki / "stranger.key", version)
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
        ]
        self.old = _context(*daemon.identity("b"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the old version is the point
            self.old.set_ciphers("DEFAULT:@SECLEVEL=0")
            self.old.minimum_version = ssl.TLSVersion.TLSv1
            self.old.maximum_version = ssl.TLSVersion.TLSv1_1


def _context(
    certificate: Path, key: Path, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    root = federation().space.hierarchy.root.certificate_pem
    context.load_verify_locations(cadata=root.decode("ascii"))
    context.load_cert_chain(certificate, key)
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, version
    return context


async def _reply(wire: Wire, code: bytes) -> None:
    """Hear replies up to one whose last line begins with a code."""
    heard = b""
    while not heard.endswith(b"\n") or heard.splitlines()[-1][3:4] == b"-":
        more = await wire.hear()
        assert more, f"{code!r} was due, the connection ended after {heard!r}"
        heard += more
    assert heard.splitlines()[-1].startswith(code), heard


async def _begin(port: int) -> Wire:
    wire = await Wire.connect(HOST, port)
    await _reply(wire, b"220")
    await wire.send(b"STARTTLS\r\n")
    await _reply(wire, b"220")
    return wire


async def refused_handshake(port: int, certificates: Certificates, number: int) -> None:
    """A handshake that comes to nothing, for one of five reasons."""
    wire = await _begin(port)
    flight = number // 5 % 2
    try:
        match number % 5:
            case 0:
                assert not await wire.start_tls(certificates.old)
            case 1:
                await wire.send_raw(b"\x16\x03\x01\x02\x00" + bytes([number % 251]) * 600)
            case 2:
                # Under TLS 1.3 it is refused only after the client has finished.
                await wire.start_tls(certificates.untrusted[flight])
                assert not await wire.hear()
            case 3:
                await wire.break_handshake(certificates.good, flight, Damage(at=number))
                wire.finish()
            case _:
                await wire.break_handshake(certificates.good, flight, Damage(at=number))
                wire.reset()
                return
        await wire.drain()
    finally:
        wire.close()


async def broken_off(port: int, certificates: Certificates, number: int) -> None:
    """A message that never ends: by DATA or BDAT, in memory or on disk, ended by FIN or RST."""
    size = ON_DISK if number % 2 else 2_000
    by_reset, by_chunks = number // 2 % 2, number // 4 % 2
    body = b"From: dr@b.mssante.fr\r\n\r\n" + b"%070d\r\n" % number * (size // 72)
    wire = await _begin(port)
    try:
        assert await wire.start_tls(certificates.good)
        await wire.send(b"EHLO b\r\n")
        await _reply(wire, b"250")
        await wire.send(f"MAIL FROM:<dr@b.mssante.fr>\r\nRCPT TO:<{BOX}>\r\n".encode())
        await _reply(wire, b"250")
        if by_chunks:
            # The first chunk is acknowledged, and so on disk, the second never complete.
            await wire.send(b"BDAT %d\r\n" % len(body) + body)
            await _reply(wire, b"250 2.0.0")
            await wire.send(b"BDAT 90000 LAST\r\n" + body[:2_000])
        else:
            await wire.send(b"DATA\r\n")
            await _reply(wire, b"354")
            await wire.send(body)
        if by_reset:
            wire.reset()
        else:
            wire.finish()
            await wire.drain()
    finally:
        wire.close()


async def _each(count: int, one: Callable[[int], Awaitable[None]]) -> None:
    """Do something so many times, `AT_ONCE` of them side by side."""
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            async with asyncio.timeout(PATIENCE):
                await one(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(some())


async def idle_connections(
    port: int, certificates: Certificates, count: int, held: Callable[[], None]
) -> None:
    """Connections under TLS that say nothing, all at once; half of them take their leave."""
    wires: list[Wire] = []

    async def one(_: int) -> None:
        wire = await _begin(port)
        wires.append(wire)
        assert await wire.start_tls(certificates.good)
        await wire.send(b"EHLO b\r\n")
        await _reply(wire, b"250")

    try:
        await _each(count, one)
        held()
        for wire in wires[::2]:
            await wire.send(b"QUIT\r\n")
            await _reply(wire, b"221")
    finally:
        for wire in wires:
            wire.close()


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
    return words[words.index("mssante_operator.process") + 1]


def _open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


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

    def phases(watch: Watch) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        return {
            "refused handshakes": lambda: _each(
                plan.handshakes, lambda n: refused_handshake(port, certificates, n)
            ),
            "messages broken off": lambda: _each(
                plan.messages, lambda n: broken_off(port, certificates, n)
            ),
            "idle connections": lambda: idle_connections(port, certificates, plan.idle, watch.look),
        }

    assert _passes(daemon)
    faults: list[str] = []
    for phase in phases(Watch(daemon)):
        runs: list[Run] = []
        for name in ("warm-up", "first", "second"):
            watch = Watch(daemon)
            began = time.monotonic()
            uvloop.run(_watched(phases(watch)[phase](), watch))
            seconds = round(time.monotonic() - began, 1)
            runs.append(_settled(daemon, watch, phase, name, seconds, runs))
            report(runs[-1])
        faults += judge(runs)
    return faults


async def _watched(work: Coroutine[Any, Any, None], watch: Watch) -> None:
    looking = asyncio.create_task(watch.keep_looking())
    try:
        await work
    finally:
        looking.cancel()


def _settled(
    daemon: Daemon, watch: Watch, phase: str, name: str, seconds: float, before: list[Run]
) -> Run:
    """What is there once the last connections have ended; those of the warm-up set the measure."""
    passed = _passes(daemon)
    wanted = {one.role: one.files for one in before[0].processes} if before else None
    stable = [watch.files()]

    def over() -> bool:
        now = watch.files()
        stable.append(now)
        return not watch.drafts() and (
            now == wanted if wanted else len(stable) > 300 and stable[-300:] == [now] * 300
        )

    with suppress(TimeoutError):  # the judge will say what is left
        until_now(over, PATIENCE)
    return Run(
        phase, name, seconds, watch.footprints(), watch.worker_peak, watch.files_peak,
        watch.drafts_peak, watch.drafts(), passed,
    )  # fmt: skip


def judge(runs: list[Run]) -> list[str]:
    """What is wrong with the runs of one phase, the first of them the measure."""
    faults = []
    for before, run in pairwise(runs):
        what = f"{run.phase}, {run.run} run"
        if run.drafts_left:
            faults.append(f"{what}: {run.drafts_left} temporary files left")
        if not run.message_passed:
            faults.append(f"{what}: no message goes through any more")
        for was, then, now in zip(runs[0].processes, before.processes, run.processes, strict=True):
            if now.files != was.files:
                faults.append(f"{what}: {now.role} has {now.files} files open, had {was.files}")
            if now.own - then.own > MAX_GROWTH:
                faults.append(f"{what}: {now.role} grew from {then.own} to {now.own} MB")
    return faults


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
    parser.add_argument("--handshakes", type=int, default=Plan.handshakes)
    parser.add_argument("--messages", type=int, default=Plan.messages)
    parser.add_argument("--idle", type=int, default=Plan.idle)
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
