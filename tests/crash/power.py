"""Power cuts: the daemon's changes of its disk are recorded, and cut off at many moments.

A real daemon runs under load; each change of its data folder is recorded in order
(tests/support/faults/record.c). For a moment of the record, the folder is rebuilt in a possible
state of the disk (`tests.crash.disk`), and opened as after a restart: the database recovers, all
bodies are read, and all mail acknowledged before that moment must be there.
"""

import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from sqlalchemy import text

from tests.crash.disk import Cut, Disk
from tests.crash.load import Ledger, Load, Sending
from tests.crash.recording import Event, events
from tests.crash.site import environment
from tests.crash.verdict import Verdict, judge
from tests.support.faults import library
from tests.support.machines.daemon import Daemon, lay_out
from tests.support.waiting import until_now

SIZES: Final = (2_000, 2_000, 20_000, 70_000, 70_000, 300_000)
KEEPS: Final = (0.0, 1.0, 0.5)  # kept share of unsynced changes: nothing, everything, random
SMALLER: Final = (2_000, 2_000, 2_000, 60_000, 70_000)
_CLIENTS: Final = 6
_PATIENCE: Final = 300.0  # seconds for a run
_CHECKPOINT: Final = "*.db "  # the database file in rules
_CUT_SHORT: Final = 200  # messages after which each worker has tried a checkpoint
_READER: Final = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM messages").fetchone()
print("reading", flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Recorded:
    """A run of the daemon, with a disk in its first state for each way to heed syncs."""

    daemon: Daemon
    log: Path
    sendings: Sequence[Sending]
    disks: Sequence[Disk]


Heeds = Callable[[Event], bool]


def everything(_: Event) -> bool:
    """All syncs count."""
    return True


def record(
    folder: Path,
    seed: str,
    acknowledgements: int,
    heeds: Sequence[Heeds] = (everything,),
    failing: Sequence[str] = (),
) -> Recorded:
    """Run a daemon with two workers until so many `acknowledgements`; then kill it.

    `failing` are rules of tests/support/faults/fail.c, each for one sync during the run; before a
    checkpoint's, a reader has cut earlier checkpoints short.
    """
    daemon = lay_out(folder / "a", "a", workers=2)
    data, log, control = daemon.folder / "data", folder / "log", folder / "control"
    log.touch()
    disks = [Disk(data, one) for one in heeds]
    ledger = Ledger()
    preload = f"{library('record')}:{library('fail')}"
    with environment(
        LD_PRELOAD=preload, RECORD_LOG=str(log), RECORD_UNDER=str(data), FAULTS=str(control)
    ):
        daemon.start()

    def size() -> int:
        return log.stat().st_size

    try:
        sizes = SMALLER if failing else SIZES
        with Load(daemon, ledger, seed, clients=_CLIENTS, sizes=sizes, mark=size):
            stretch = acknowledgements // (len(failing) + 1)
            for rule in failing:
                _reach(ledger, stretch)
                if _CHECKPOINT in rule:
                    with _held_back(data / "mssante.db"):
                        _reach(ledger, _CUT_SHORT)
                        control.write_text(rule)  # no checkpoint may succeed before it
                else:
                    control.write_text(rule)
                until_now(lambda: not control.exists(), _PATIENCE)
            _reach(ledger, _CUT_SHORT if failing else stretch)
    finally:
        daemon.kill()
    return Recorded(daemon, log, ledger.sendings, disks)


def _reach(ledger: Ledger, more: int) -> None:
    goal = ledger.acknowledged + more
    until_now(lambda: ledger.acknowledged >= goal, _PATIENCE)


@contextmanager
def _held_back(database: Path) -> Iterator[None]:
    """Read the database all the time, so that later writes stay in its log.

    In a separate process: after a failed checkpoint, all users of the database are killed.
    """
    reader = [sys.executable, "-c", _READER, str(database)]
    pipe = subprocess.PIPE
    with subprocess.Popen(reader, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield


def moments(recorded: Recorded, chance: random.Random, count: int) -> list[int]:
    """Positions in the log: its end; half of them at a reply, half at any record."""
    answers = {one.position for one in recorded.sendings if one.accepted}
    *ends, last = (event.end for event in events(recorded.log))
    answers.discard(last)
    others = set(ends) - answers
    half = min(count // 2, len(answers))
    some = chance.sample(sorted(others), count - half - 1)
    return sorted([*chance.sample(sorted(answers), half), *some, last])


def cut(
    recorded: Recorded, disk: Disk, chance: random.Random, count: int
) -> Iterator[tuple[int, float, Verdict]]:
    """Cut the power `count` times; yield position, kept share and findings."""
    work = recorded.log.parent / "cuts"
    (work / "cache").mkdir(parents=True)
    try:
        log = events(recorded.log)
        waiting = next(log, None)
        for position in moments(recorded, chance, count):
            while waiting is not None and waiting.end <= position:
                disk.feed(waiting)
                waiting = next(log, None)
            for keeps in KEEPS:
                yield position, keeps, _look(recorded, disk, Cut(chance, keeps), position)
    finally:
        shutil.rmtree(work)


def _look(recorded: Recorded, disk: Disk, kept: Cut, position: int) -> Verdict:
    work = recorded.log.parent / "cuts"
    data = work / "data"
    disk.materialise(data, kept, work / "cache")
    config = recorded.daemon.folder / "cut.toml"
    config.write_text(
        recorded.daemon.config.read_text().replace('directory = "data"', f'directory = "{data}"', 1)
    )
    restarted = replace(recorded.daemon, config=config)
    known = [
        one if one.position <= position else replace(one, reply="") for one in recorded.sendings
    ]
    try:
        return _judge(restarted, known)
    except Exception as error:  # a store that cannot be opened has lost everything
        return Verdict(problems=[f"cannot be opened: {error}"])
    finally:
        shutil.rmtree(data)


def _judge(restarted: Daemon, known: Sequence[Sending]) -> Verdict:
    with restarted.store() as store:
        with store.database.read() as connection:
            whole = connection.scalar(text("PRAGMA integrity_check"))
        verdict = judge(store, known, {})
    if whole != "ok":
        verdict.problems.append(f"the database: {whole}")
    told = restarted.run("store", "check") if not verdict.problems else ""
    if not verdict.problems and "all bodies are intact" not in told:
        verdict.problems.append(told)
    return verdict
