"""Checkpoints of SQLite's log: made by us, never repeated after a failed sync."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import insert

from mailstore.db.database import Database
from mailstore.db.engine.wal_checkpoint import EVERY, ROWS, Checkpoints
from mailstore.db.schema import domains
from mailstore.mailboxes.mailboxes import add_domain, list_domains
from tests.support.clock import NOW

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)

# Uses the database of its argument until killed.
_USER = """
import sys
from mailstore.db.database import Database
database = Database(sys.argv[1])
with database.read() as connection:
    connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar()
    print("reading", flush=True)
    sys.stdin.read()
"""

_PANICKING = """
import sys
from pathlib import Path
from mailstore.db.engine.wal_checkpoint import end_all
from mailstore.db.database import Database
database = Database("sqlite:///" + sys.argv[1])
with database.read() as connection:
    end_all(Path(sys.argv[1]), "a test")
"""


def path(database: Database) -> Path:
    return Path(str(database.url.database))


def write(database: Database, times: int) -> None:
    for n in range(times):
        with database.write() as connection:
            add_domain(connection, f"d{n}-{id(database)}.fr", now=NOW)


def checkpoints_of(database: Database) -> Checkpoints:
    assert database._checkpoints is not None
    return database._checkpoints


def made(database: Database) -> None:
    """Wait for the running checkpoint."""
    running = checkpoints_of(database)._running
    assert running is not None
    running.result(10)


def test_sqlite_makes_none_by_itself(database: Database) -> None:
    for lend in (database.read, database.write):
        with lend() as connection:
            assert connection.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar() == 0


def test_one_is_made_every_so_many_transactions(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    run = Checkpoints.run

    def counted(self: Checkpoints, connection: sqlite3.Connection) -> None:
        with database.read() as reading:
            counts.append(len(list_domains(reading)))
        run(self, connection)

    monkeypatch.setattr(Checkpoints, "run", counted)
    write(database, EVERY - 1)
    assert checkpoints_of(database)._running is None
    for n in range(1, 4):
        for m in range(EVERY if n > 1 else 1):
            with database.write() as connection:
                add_domain(connection, f"more{n}-{m}.fr", now=NOW)
        made(database)
        # The bulk, and the pages added meanwhile: none here.
        assert counts == [EVERY * k for k in range(1, n + 1) for _ in range(2)]


def test_a_few_transactions_that_change_much_are_enough(database: Database) -> None:
    for part in range(2):
        with database.write() as connection:
            for n in range(0, ROWS // 2, 500):
                names = [{"name": f"d{part}-{n + m}.fr", "created_at": NOW} for m in range(500)]
                connection.execute(insert(domains), names)
        if not part:
            assert checkpoints_of(database)._running is None
    made(database)


def test_nobody_waits_for_one_and_it_does_not_hold_a_turn(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A disk that is slow to sync the copied pages.
    syncing, go_on = threading.Event(), threading.Event()

    def sync(_: Checkpoints) -> None:
        syncing.set()
        assert go_on.wait(10)

    monkeypatch.setattr(Checkpoints, "_sync", sync)
    write(database, EVERY)
    assert syncing.wait(10)
    log = Path(f"{path(database)}-wal")
    size = log.stat().st_size
    for n in range(2 * EVERY):  # more than until the next checkpoint is due
        with database.write() as connection:
            add_domain(connection, f"more{n}.fr", now=NOW)
    assert log.stat().st_size > 2 * size
    running = checkpoints_of(database)._running
    assert running is not None
    assert not running.done()
    go_on.set()
    running.result(10)
    # All later pages were copied too, so the log restarts.
    full = log.stat().st_size
    with database.write() as connection:
        add_domain(connection, "last.fr", now=NOW)
    assert log.stat().st_size == full


def test_what_was_copied_is_synced_before_the_rest_is(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(Checkpoints, "run", lambda *_: done.append("run"))
    monkeypatch.setattr(
        os, "fdatasync", lambda number: done.append(str(Path(f"/proc/self/fd/{number}").readlink()))
    )
    write(database, EVERY)
    made(database)
    assert done == ["run", str(path(database).resolve()), "run"]


def test_a_copy_that_was_not_synced_ends_everybody(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    panics: list[str] = []
    checkpoints = checkpoints_of(database)
    monkeypatch.setattr(checkpoints, "_panic", lambda _, reason: panics.append(reason))
    write(database, EVERY)
    made(database)
    assert panics == ["a checkpoint was not synced: [Errno 5] Input/output error"]


def test_the_log_does_not_grow_for_ever(database: Database) -> None:
    fresh = Database(f"sqlite:///{path(database)}")
    write(fresh, 2 * EVERY)
    log = Path(f"{path(database)}-wal")
    size = log.stat().st_size
    for n in range(10):
        for m in range(EVERY):
            with fresh.write() as connection:
                add_domain(connection, f"more{n}-{m}.fr", now=NOW)
        made(fresh)
    assert log.stat().st_size <= 3 * size
    fresh.close()


class Refusing:
    """A connection whose checkpoints fail."""

    def __init__(self, code: int) -> None:
        self.error = sqlite3.OperationalError("disk I/O error")
        self.error.sqlite_errorcode = code

    def execute(self, _statement: str) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("code", "ends"),
    [(1034, True), (1290, True), (778, False), (13, False), (5, False)],
    ids=["fsync", "fsync of the folder", "write", "full", "busy"],
)
def test_what_was_not_synced_ends_everybody(
    database: Database, monkeypatch: pytest.MonkeyPatch, code: int, ends: bool
) -> None:
    panics: list[str] = []
    checkpoints = checkpoints_of(database)
    monkeypatch.setattr(checkpoints, "_panic", lambda _, reason: panics.append(reason))
    checkpoints.run(Refusing(code))  # type: ignore[arg-type]  # unlike a real one, it fails
    assert bool(panics) == ends


@pytest.mark.integration
def test_all_that_share_the_index_and_nobody_else(database: Database, tmp_path: Path) -> None:
    write(database, 1)
    other = Database(f"sqlite:///{tmp_path / 'other.db'}")
    with other.read() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar()
    url = database.url.render_as_string()
    arguments = [url.replace("+pysqlite", ""), f"sqlite:///{tmp_path / 'other.db'}"]
    users = [
        subprocess.Popen(
            [sys.executable, "-c", _USER, argument],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for argument in (arguments[0], arguments[0], arguments[1])
    ]
    for user in users:
        assert user.stdout is not None
        assert user.stdout.readline() == b"reading\n"
    # This process also has the database open, and survives only if it closes it.
    database.close()
    ended = subprocess.run(
        [sys.executable, "-c", _PANICKING, str(path(database))], capture_output=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert b"a test: every process that uses it is killed" in ended.stderr
    assert [user.wait(10) for user in users[:2]] == [-signal.SIGKILL] * 2
    assert users[2].poll() is None
    for user in users:
        user.communicate()
    with database.read() as connection:
        assert len(list_domains(connection)) == 1
    other.close()
