"""How many audit rows a second several processes write, each in a transaction of its own.

`python -m tests.bench.audit`: on SQLite and on PostgreSQL, both syncing each commit, for 1, 2 and 4
processes; then how fast the rows are verified.
"""

import multiprocessing
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
from mssante_operator.assembly import migrations
from tests.bench.sides import postgresql
from tests.support.clock import system_clock

SECONDS: Final = 3.0
_ACTOR: Final = AuditActor(account="dr.a", unix_user=None, door=Door.IMAP, origin="192.0.2.1")


def write(url: str, keys: Path, go: Event, answer: Connection) -> None:
    """Append a row a transaction until the time is over; answers with the number of rows."""
    trail, rows = AuditTrail(AuditKeys(keys)), 0
    with closing(Database(url, pool_size=1)) as database:
        with database.read():
            pass
        answer.send(0)
        go.wait()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            event = AuditEvent(
                at=system_clock(),
                event="message.read",
                actor=_ACTOR,
                mailbox="cardiologie@chu.mssante.fr",
                message=f"{rows:032x}",
                facts={"flags": "seen"},
            )
            with database.write() as connection:
                trail.append(connection, [event])
            rows += 1
    answer.send(rows)


def measure(url: str, keys: Path, processes: int) -> float:
    """Rows a second of all processes together."""
    go = multiprocessing.Event()
    answers = [multiprocessing.Pipe() for _ in range(processes)]
    workers = [
        multiprocessing.Process(target=write, args=(url, keys, go, answer)) for _, answer in answers
    ]
    for worker in workers:
        worker.start()
    for answer, _ in answers:
        answer.recv()
    go.set()
    rows = sum(answer.recv() for answer, _ in answers)
    for worker in workers:
        worker.join()
    return float(rows / SECONDS)


def main() -> None:
    """Measure both databases."""
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="mssante-audit-")))
        make_key_file(folder / "audit-keys", system_clock())
        keys = AuditKeys(folder / "audit-keys")
        for name, url in (
            ("sqlite", f"sqlite:///{folder / 'rows.db'}"),
            ("postgresql", opened.enter_context(postgresql())),
        ):
            migrations.upgrade(url)
            for processes in (1, 2, 4):
                rate = measure(url, keys.path, processes)
                sys.stdout.write(f"{name}, {processes} processes: {rate:.0f} rows/s\n")
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
