"""Instructions of a worker for each message: `python -m tests.bench.instructions`.

The inbound side runs as in `profile_inbound`, under valgrind's callgrind, which counts instructions
of the process (not of the kernel) while a load comes in: a figure that a busy machine hardly
changes. `--against CHECKOUT` counts another version at the same time, with its own packages, and
prints the ratio of each round. Needs valgrind; a message takes fifty times its usual time.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr
from pathlib import Path
from typing import Final

import uvloop

from mssante_operator import logs
from tests.bench.load import Load
from tests.bench.profile_inbound import listening, send

SHAPES: Final = ((2_000, 600, 1), (2_000, 600, 6), (50_000, 200, 4), (1_000_000, 30, 1))
_COLLECTED: Final = re.compile(r"Collected : (\d+)")
_HERE: Final = Path(__file__).parents[2]


async def _inside(given: argparse.Namespace) -> None:
    """Take a load, counted from the second on: the first has what is done once."""
    warm_up = Load(20 * given.connections, given.size, given.connections, 20)
    counted = Load(given.total, given.size, given.connections, given.total)
    async with listening(given) as (server, generator):
        await send(server, generator, warm_up)
        _switch("on")
        await send(server, generator, counted)
        _switch("off")


def _switch(state: str) -> None:
    subprocess.run(
        ["callgrind_control", f"--instr={state}", str(os.getpid())],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def count(checkout: Path, load: str, size: int, total: int, connections: int) -> float:
    """Instructions for a message in a checkout. Raises RuntimeError with the end of its output."""
    command = [
        "valgrind", "--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=/dev/null",
        str(checkout / ".venv/bin/python"), "-W", "ignore", "-m", "tests.bench.instructions",
        "--inside", "--size", str(size), "--total", str(total), "--connections", str(connections),
        "--load", load,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=checkout, check=False, capture_output=True, text=True)
    found = _COLLECTED.search(done.stderr)
    if done.returncode or found is None:
        raise RuntimeError(f"nothing was counted in {checkout}: {done.stderr[-2_000:]}")
    return int(found[1]) / total


def main() -> None:
    """Count as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.instructions", description=__doc__)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another version, set up")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", default=os.environ.get("SMTPLOAD", ""), help="as for make bench")
    parser.add_argument("--inside", action="store_true", help="be the process that is counted")
    parser.add_argument("--size", type=int, default=2_000)
    parser.add_argument("--total", type=int, default=600)
    parser.add_argument("--connections", type=int, default=1)
    given = parser.parse_args()
    if given.inside:
        with tempfile.TemporaryFile("w") as log, redirect_stderr(log):
            logs.configure("info", "json", process="worker")
            uvloop.run(_inside(given))
        return
    if shutil.which("valgrind") is None:
        parser.error("valgrind is not installed: apt install valgrind")
    checkouts = [_HERE, *([given.against.absolute()] if given.against else [])]
    for size, total, connections in SHAPES:
        ratios = []
        for _ in range(given.rounds):
            with ThreadPoolExecutor(len(checkouts)) as pool:
                counting = [
                    pool.submit(count, one, given.load, size, total, connections)
                    for one in checkouts
                ]
                found = [one.result() for one in counting]
            ratios.append(found[0] / found[-1])
            millions = " against ".join(f"{one / 1e6:.2f}" for one in found)
            sys.stdout.write(
                f"{size} octets, {connections} connections: {millions} million instructions\n"
            )
        if given.against:
            sys.stdout.write(
                f"{size} octets, {connections} connections: ratio {statistics.mean(ratios):.3f} "
                f"({min(ratios):.3f} to {max(ratios):.3f})\n"
            )


if __name__ == "__main__":
    main()
