"""How many audit rows a second several processes write, each in a transaction of its own.

`python -m tests.bench.audit`: on SQLite and on PostgreSQL, both syncing each commit, for 1, 2 and 4
processes, and with ten rows a transaction, as of an act on many; then how fast the rows are
verified. Beside these, how often a second the disk syncs four kilobytes by one writer, and how much
CPU a row takes.
"""

import multiprocessing
import os
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Final

from mailstore.audit.event import AuditActor, AuditEvent, Door
from mailstore.audit.keys import AuditKeys, make_key_file
from mailstore.audit.trail import AuditTrail
from mailstore.audit_reading.findings import Checked
from mailstore.audit_reading.verify import verify
from mailstore.db.database import Database
from mssante_operator.assembly.database import migrations
from tests.bench.sides import postgresql
from tests.support.clock import system_clock

SECONDS: Final = 3.0
_MEMORY: Final = Path("/dev/shm")
_ACTOR: Final = AuditActor(account="dr.a", unix_user=None, door=Door.IMAP, origin="192.0.2.1")


def write(url: str, keys: Path, go: Event, answer: Connection, together: int) -> None:
    """Append rows until the time is over; answers with their number and the seconds of CPU."""
    trail, rows = AuditTrail(AuditKeys(keys)), 0
    with closing(Database(url, pool_size=1)) as database:
        with database.read():
            pass
        answer.send((0, 0.0))
        go.wait()
        began = time.process_time()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            events = [_event(rows + number) for number in range(together)]
            with database.write() as connection:
                trail.append(connection, events)
            rows += together
        answer.send((rows, time.process_time() - began))


def _event(number: int) -> AuditEvent:
    return AuditEvent(
        at=system_clock(),
        event="message.read",
        actor=_ACTOR,
        mailbox="cardiologie@chu.mssante.fr",
        message=f"{number:032x}",
        facts={"flags": "seen"},
    )


def syncs(folder: Path) -> float:
    """Syncs of four kilobytes a second, by one writer, as a commit of SQLite's log makes them."""
    count, octets = 0, bytes(4096)
    with (folder / "syncs").open("wb", buffering=0) as file:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            file.write(octets)
            os.fdatasync(file.fileno())
            count += 1
    return count / SECONDS


def measure(url: str, keys: Path, processes: int, together: int) -> tuple[float, float]:
    """Rows a second of all processes together, and microseconds of their CPU for each."""
    go = multiprocessing.Event()
    answers = [multiprocessing.Pipe() for _ in range(processes)]
    workers = [
        multiprocessing.Process(target=write, args=(url, keys, go, answer, together))
        for _, answer in answers
    ]
    for worker in workers:
        worker.start()
    for answer, _ in answers:
        answer.recv()
    go.set()
    found = [answer.recv() for answer, _ in answers]
    for worker in workers:
        worker.join()
    rows = sum(count for count, _ in found)
    return rows / SECONDS, sum(cpu for _, cpu in found) / rows * 1e6


def main() -> None:
    """Measure both databases."""
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="mssante-audit-")))
        make_key_file(folder / "audit-keys", system_clock())
        keys = AuditKeys(folder / "audit-keys")
        memory = opened.enter_context(
            tempfile.TemporaryDirectory(prefix="mssante-audit-", dir=_MEMORY)
        )
        for name, url in (
            ("sqlite", f"sqlite:///{folder / 'rows.db'}"),
            ("sqlite in memory, where a sync costs nothing", f"sqlite:///{memory}/rows.db"),
            ("postgresql", opened.enter_context(postgresql())),
        ):
            migrations.upgrade(url)
            sys.stdout.write(f"the disk: {syncs(folder):.0f} syncs/s\n")
            for processes, together in ((1, 1), (2, 1), (4, 1), (4, 10)):
                rate, cpu = measure(url, keys.path, processes, together)
                sys.stdout.write(
                    f"{name}, {processes} processes, {together} rows a transaction: "
                    f"{rate:.0f} rows/s, {cpu:.0f} µs of CPU each\n"
                )
            with closing(Database(url)) as database:
                checked, began = Checked(), time.monotonic()
                found = list(verify(database, keys, checked))
                taken = time.monotonic() - began
            rate = checked.rows / taken
            sys.stdout.write(
                f"{name}: {checked.rows} rows in {checked.chains} chains verified at "
                f"{rate:.0f} rows/s, {len(found)} findings\n"
            )


if __name__ == "__main__":
    main()
