"""One load of `make bench`: what is sent to a server, by which generator, and what came of it.

The generator is the program that SMTPLOAD names (a C source is compiled first), or the Python one
beside this module.  It runs in a process of its own, on the same machine.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.bench.sides import DOMAIN, Side

_LOOK: Final = 0.05  # seconds from one look at a server's memory to the next
_WARM_UP: Final = 20  # connections, of one message each


@dataclass(frozen=True, slots=True)
class Load:
    """Messages of so many octets, so many of them on each connection, over so many at once."""

    total: int
    size: int
    connections: int = 20
    per_connection: int = 100
    recipients: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """Seconds from the first connection to the last copy in its mailbox, and CPU of the server."""

    seconds: float
    cpu: float | None
    handshakes: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Generator:
    """A program that sends, and how it is named in the results."""

    command: tuple[str, ...]
    name: str
    certificate: Path
    key: Path

    def start(
        self, port: int, load: Load, mailboxes: int, to: str = f"bench%d@{DOMAIN}"
    ) -> "subprocess.Popen[str]":
        """Begin to send; `%d` in `to` stands for the numbers below `mailboxes`, in turn."""
        options = {
            "--port": port, "--cert": self.certificate, "--key": self.key,
            "--from": "dr@b.mssante.fr", "--to": to, "--mailboxes": mailboxes,
            "--conns": load.connections, "--per-conn": load.per_connection,
            "--rcpts": load.recipients, "--total": load.total, "--size": load.size,
        }  # fmt: skip
        words = [str(word) for option in options.items() for word in option]
        return subprocess.Popen([*self.command, *words], stdout=subprocess.PIPE, text=True)


def find_generator(given: str, folder: Path, identity: tuple[Path, Path]) -> Generator:
    """The generator at a path, or ours if that is empty; what has to be compiled goes to `folder`.

    Raises FileNotFoundError or subprocess.CalledProcessError.
    """
    if not given:
        return Generator((sys.executable, "-m", "tests.bench.client"), "Python", *identity)
    path = Path(given).absolute()
    if path.suffix == ".c":
        source, path = path, folder / "smtpload"
        compiler = shutil.which("cc") or "cc"
        libraries = ("-pthread", "-lssl", "-lcrypto")
        subprocess.run([compiler, "-O2", "-o", path, source, *libraries], check=True)
    if not os.access(path, os.X_OK):
        raise FileNotFoundError(f"SMTPLOAD: {path} is no program")
    return Generator((str(path),), "SMTPLOAD", *identity)


def run(
    generator: Generator, side: Side, load: Load, meanwhile: Callable[[], None] | None = None
) -> Outcome:
    """Send a load and wait for the last copy; `meanwhile` is called again and again until then.

    Raises AssertionError if a message was not accepted or is not in its mailbox exactly once.
    """
    side.begin()
    before = side.cpu()
    process = generator.start(side.port, load, side.mailboxes)
    while meanwhile is not None and process.poll() is None:
        meanwhile()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK)
    text, _ = process.communicate()
    ended = time.time()
    assert text, f"the generator ended with {process.returncode} and no result"
    found: dict[str, Any] = json.loads(text)
    assert (found["ok"], found["failed"]) == (load.total, 0), f"{side.name}: {found}"
    last = side.arrived(load.total * load.recipients)
    after = side.cpu()
    side.rest()
    late = max(0.0, last - ended) if last is not None else 0.0
    return Outcome(
        seconds=load.total / found["msgs_s"] + late,
        cpu=after - before if before is not None and after is not None else None,
        handshakes=found["handshakes"],
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
    )


def alternate(
    generator: Generator, sides: Sequence[Side], load: Load, rounds: int
) -> dict[str, list[Outcome]]:
    """Load the sides in turn, so that what else the machine does meets all alike; by their names.

    Each is warmed up at its first load: processes started, pools filled.
    """
    outcomes: dict[str, list[Outcome]] = {side.name: [] for side in sides}
    for side in sides:
        if not side.warm:
            run(generator, side, Load(_WARM_UP, 2_000, _WARM_UP, 1))
            side.warm = True
    for _ in range(rounds):
        for side in sides:
            outcomes[side.name].append(run(generator, side, load))
    return outcomes
