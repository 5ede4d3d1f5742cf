"""Where a worker's CPU goes for each message: `python -m tests.bench.profile_inbound`.

The inbound side runs in this process, on uvloop, with a real store; the load comes from another
process.  The first load is measured bare: CPU of each thread for one message.  The second runs
under cProfile, a profile for each thread, whose overhead inflates what calls much: compare its
lines with each other, and the bare figures with those of another version.  Since Python 3.12 one
profile at a time may be on in a process; there the second load is left out.
"""

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, redirect_stderr
from pathlib import Path
from types import FrameType
from typing import Final

import uvloop

from mssante_operator import logs
from relay.policy.admission import AdmissionPolicy
from tests.bench.load import Generator, Load, find_generator
from tests.support.machines.operators import ACTIVE, Inbound, inbound

# Since then cProfile stands on sys.monitoring, which takes one profiler for all threads.
BY_THREAD: Final = sys.version_info < (3, 12)


class Profiles:
    """A profile for each thread that begins while they are on, and one for the event loop's own."""

    def __init__(self, timer: Callable[[], float]) -> None:
        self._timer = timer
        self._loop = cProfile.Profile(timer)
        self._threads: list[tuple[str, cProfile.Profile]] = []

    def watch_threads(self) -> None:
        """From now on; the listener starts some of them before the load."""
        threading.setprofile(self._begin)

    def watch_loop(self) -> None:
        """From now on, in the event loop's own thread."""
        self._loop.enable()

    def stop(self) -> None:
        self._loop.disable()
        threading.setprofile(None)

    def _begin(self, _frame: FrameType, _event: str, _argument: object) -> None:
        # The first call in a new thread: from here on its own profile is told of them.
        profile = cProfile.Profile(self._timer)
        self._threads.append((_pool(threading.current_thread().name), profile))
        profile.enable()

    def by_pool(self) -> dict[str, list[cProfile.Profile]]:
        """The profiles of each pool of threads; they must have ended."""
        found: dict[str, list[cProfile.Profile]] = {"event loop": [self._loop]}
        for name, profile in self._threads:
            found.setdefault(name, []).append(profile)
        return found


def _pool(thread: str) -> str:
    """The name of the pool that a thread belongs to, or its own."""
    return thread.rpartition("_")[0] or thread


def thread_cpu() -> Counter[str]:
    """Nanoseconds of CPU so far of this process's threads by pool; `native` are not Python's."""
    names = {one.native_id: _pool(one.name) for one in threading.enumerate()}
    names[os.getpid()] = "event loop"
    found: Counter[str] = Counter()
    for task in Path("/proc/self/task").iterdir():
        # In nanoseconds, where `stat` counts the ticks of a clock that short bursts slip through.
        nanoseconds = (task / "schedstat").read_text().split()[0]
        found[names.get(int(task.name), "native")] += int(nanoseconds)
    return found


@asynccontextmanager
async def listening(given: argparse.Namespace) -> AsyncIterator[tuple[Inbound, Generator]]:
    """The inbound side in this process, and a generator of loads for it."""
    with tempfile.TemporaryDirectory(prefix="mssante-profile-") as name:
        folder = Path(name)
        async with inbound(folder, policy=AdmissionPolicy(40_000_000)) as server:
            identity = server.space.identity("b", folder)
            files = identity.certificate, identity.key
            yield server, find_generator(given.load, folder, files)


async def send(server: Inbound, generator: Generator, load: Load) -> None:
    """Take a load, every message of which must be accepted."""
    process = await asyncio.to_thread(generator.start, server.port, load, 1, ACTIVE)
    text, _ = await asyncio.to_thread(process.communicate)
    found = json.loads(text)
    assert (found["ok"], found["failed"]) == (load.total, 0), found


async def bare(given: argparse.Namespace, load: Load) -> dict[str, float]:
    """Milliseconds of CPU for one message, by pool of threads."""
    async with listening(given) as (server, generator):
        await send(server, generator, Load(load.connections, 2_000, load.connections, 1))
        before = thread_cpu()
        await send(server, generator, load)
        used = thread_cpu() - before
    return {pool: spent / 1e6 / load.total for pool, spent in used.most_common()}


async def profiled(given: argparse.Namespace, load: Load) -> dict[str, list[cProfile.Profile]]:
    """The profiles of the same load, by pool of threads."""
    profiles = Profiles(time.perf_counter if given.wall else time.thread_time)
    profiles.watch_threads()
    try:
        async with listening(given) as (server, generator):
            profiles.watch_loop()
            await send(server, generator, load)
    finally:
        profiles.stop()
    return profiles.by_pool()


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.profile_inbound", description=__doc__
    )
    parser.add_argument("--total", type=int, default=2_000)
    parser.add_argument("--size", type=int, default=2_000)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--per-connection", type=int, default=100)
    parser.add_argument("--lines", type=int, default=30, help="functions shown of each pool")
    parser.add_argument("--wall", action="store_true", help="waiting counts, not CPU alone")
    parser.add_argument("--sort", choices=("tottime", "cumtime", "ncalls"), default="tottime")
    parser.add_argument("--load", default=os.environ.get("SMTPLOAD", ""), help="as for make bench")
    given = parser.parse_args()
    load = Load(given.total, given.size, given.connections, given.per_connection)
    # The daemon's log is written as it would be, but not shown.
    with tempfile.TemporaryFile("w") as log, redirect_stderr(log):
        logs.configure("info", "json", process="worker")
        used = uvloop.run(bare(given, load))
        profiles = uvloop.run(profiled(given, load)) if BY_THREAD else {}
    out = sys.stdout
    out.write(f"CPU for a message of {load.size} octets, ms: {sum(used.values()):.3f}\n")
    out.writelines(f"  {pool:<24} {ms:.3f}\n" for pool, ms in used.items())
    if not BY_THREAD:
        out.write("\nno profile by function: since Python 3.12 cProfile takes one thread alone\n")
    for pool, some in profiles.items():
        out.write(f"\n{pool}, under cProfile:\n")
        first, *others = some
        statistics = pstats.Stats(first, stream=out)
        for other in others:
            statistics.add(other)
        statistics.strip_dirs().sort_stats(given.sort).print_stats(given.lines)


if __name__ == "__main__":
    main()
