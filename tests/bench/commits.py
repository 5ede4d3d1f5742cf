"""How the workers of a node may share SQLite's one writer, measured (docs/decisions/0016).

`python -m tests.bench.commits`: so many processes commit groups of ten rows, each synced, with two
milliseconds of other work between; by SQLite's own lock, by the turn of
mailstore.db.engine.write_lock, and by a writing process to which the others send their rows.
"""

import multiprocessing
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Final

from mailstore.db.engine.write_lock import WriteLock

ROWS: Final = 10
SECONDS: Final = 2.0
WORK: Final = 0.002  # seconds between two groups of a process

Row = tuple[str, str, str, str]
_INSERT: Final = "INSERT INTO m VALUES (?, ?, ?, ?)"


def _rows() -> list[Row]:
    return [(os.urandom(16).hex(), "dr@b.mssante.fr", "x" * 64, "y" * 300) for _ in range(ROWS)]


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def _commit(connection: sqlite3.Connection, groups: list[list[Row]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for group in groups:
        connection.executemany(_INSERT, group)
    connection.execute("COMMIT")


def _groups(go: Event) -> Iterator[list[Row]]:
    go.wait()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        busy = time.perf_counter() + WORK
        while time.perf_counter() < busy:
            pass
        yield _rows()


def _timed(go: Event, commit: Callable[[list[Row]], None]) -> list[float]:
    taken = []
    for group in _groups(go):
        began = time.perf_counter()
        commit(group)
        taken.append(time.perf_counter() - began)
    return taken


def lock(path: Path, go: Event, answer: Connection) -> None:
    """Commit by SQLite's own lock, with its busy handler."""
    connection = _connect(path)
    answer.send(_timed(go, lambda group: _commit(connection, [group])))


def turn(path: Path, go: Event, answer: Connection) -> None:
    """Commit by turns."""
    connection, mine = _connect(path), WriteLock(path.with_name("turn"), 30)

    def commit(group: list[Row]) -> None:
        with mine.held():
            _commit(connection, [group])

    answer.send(_timed(go, commit))


def send(link: Connection, go: Event, answer: Connection) -> None:
    """Have the writing process commit."""

    def commit(group: list[Row]) -> None:
        link.send(group)
        link.recv()

    answer.send(_timed(go, commit))
    link.send(None)


def write(path: Path, links: list[Connection]) -> None:
    """The writing process: whatever has come is one transaction."""
    connection = _connect(path)
    while links:
        come = [(link, link.recv()) for link in wait(links) if isinstance(link, Connection)]
        _commit(connection, [group for _, group in come if group is not None])
        for link, group in come:
            if group is None:
                links.remove(link)
            else:
                link.send(True)


def measure(way: str, processes: int) -> tuple[int, float, float]:
    """Rows a second of all processes; median and 99th percentile of a commit in milliseconds."""
    go = multiprocessing.Event()
    with tempfile.TemporaryDirectory(prefix="mssante-commits-") as folder:
        path = Path(folder) / "rows.db"
        with _connect(path) as connection:
            connection.execute("CREATE TABLE m (id TEXT PRIMARY KEY, a, b, c)")
        connection.close()
        answers = [multiprocessing.Pipe() for _ in range(processes)]
        links = [multiprocessing.Pipe() for _ in range(processes)]
        workers = [
            multiprocessing.Process(target=send, args=(ours, go, answer))
            if way == "writing process"
            else multiprocessing.Process(
                target={"lock": lock, "turn": turn}[way], args=(path, go, answer)
            )
            for (_, answer), (ours, _) in zip(answers, links, strict=True)
        ]
        if way == "writing process":
            theirs = [link for _, link in links]
            workers.append(multiprocessing.Process(target=write, args=(path, theirs)))
        for worker in workers:
            worker.start()
        go.set()
        taken = sorted(seconds for answer, _ in answers for seconds in answer.recv())
        for worker in workers:
            worker.join()
    rate = round(len(taken) * ROWS / SECONDS)
    return rate, taken[len(taken) // 2] * 1000, taken[len(taken) * 99 // 100] * 1000


def main() -> None:
    """Measure all three, for 1, 2 and 4 processes."""
    for processes in (1, 2, 4):
        for way in ("lock", "turn", "writing process"):
            rate, median, worst = measure(way, processes)
            print(f"{processes} {way:16} {rate:>6} rows/s  {median:6.2f} ms  99 %: {worst:6.2f} ms")


if __name__ == "__main__":
    main()
