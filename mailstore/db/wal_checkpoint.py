"""Moving SQLite's log into its database file; and the end of everybody when the disk refuses that.

A checkpoint that a reader cuts short copies pages and counts them as done without syncing them; the
one that completes it syncs the file.  If that sync fails, the kernel may have dropped the pages of
both, and the next sync says success (https://lwn.net/Articles/752063/): SQLite would then begin
its log anew, and with it goes the last copy.  The log still has all of them, and it is read from
its beginning where the index over it, memory that all processes share, is gone.  So after such an
error every process that has this index is killed, before it can do anything more with it; who opens
the database next reads the log.

SQLite by itself checkpoints as part of some commits, and tells nobody what came of it; that is
turned off.

A checkpoint writes and syncs tens of megabytes, and nobody's mail waits for that: it runs in a
thread of its own, beside the writers.  What they have added meanwhile is little, and is copied in a
turn to write, after which the log can begin anew.
"""

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from mailstore.db.write_lock import NoTurn, Turn

EVERY: Final = 64  # write transactions of a process between two checkpoints, at most
ROWS: Final = 8_000  # rows that these may have changed: a few may fill the log as well as many

_SQLITE_IOERR_FSYNC: Final = 1034  # https://www.sqlite.org/rescode.html
_SQLITE_IOERR_DIR_FSYNC: Final = 1290


def end_all(database: Path, reason: str) -> None:
    """Kill every process that shares the index of this database's log, this one last."""
    sys.stderr.write(f"{database}: {reason}: every process that uses it is killed; start again\n")
    sys.stderr.flush()
    index = os.fsencode(f"{database.resolve()}-shm\n")
    own = os.getpid()
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        try:
            if pid != own and index in (folder / "maps").read_bytes():
                os.kill(pid, signal.SIGKILL)
        except OSError:  # gone meanwhile, or another user's, who cannot have it
            continue
    os.kill(own, signal.SIGKILL)


class Checkpoints:
    """The checkpoints that one process makes of one database.

    `lend` gives a connection, for a thread of its own.
    """

    def __init__(
        self,
        database: Path,
        lend: Callable[[], AbstractContextManager[sqlite3.Connection]],
        turn: Turn | NoTurn,
        panic: Callable[[Path, str], None] = end_all,
    ) -> None:
        self._database = database
        self._lend = lend
        self._turn = turn
        self._panic = panic
        self._left = EVERY
        self._rows = 0  # changed by the process when the last one was begun
        self._thread: ThreadPoolExecutor | None = None
        self._running: Future[None] | None = None

    def written(self, rows: int) -> None:
        """Note a write transaction, and begin a checkpoint where it is time and none is made.

        `rows` is how many the process has changed in all.
        """
        self._left -= 1
        due = self._left <= 0 or rows - self._rows >= ROWS
        if not due or (self._running is not None and not self._running.done()):
            return
        self._left, self._rows = EVERY, rows
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._running = self._thread.submit(self._make)

    def close(self) -> None:
        """Wait for the one that is being made."""
        if self._thread is not None:
            self._thread.shutdown()

    def _make(self) -> None:
        # What it raises is nobody's concern: the log stays as it is, for the next time.
        with self._lend() as connection:
            self.run(connection)
            self._sync()
            with self._turn.taken():
                self.run(connection)

    def run(self, connection: sqlite3.Connection) -> None:
        """Copy what no reader holds up; does not return where the disk has refused to sync it.

        Other errors leave the log as it is, for the next time.
        """
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0)
            if code in {_SQLITE_IOERR_FSYNC, _SQLITE_IOERR_DIR_FSYNC}:
                self._panic(self._database, f"a checkpoint was not synced: {error}")

    def _sync(self) -> None:
        """Sync what was copied while others wrote; SQLite does where nobody has."""
        try:
            os.fdatasync(_descriptor(self._database))
        except OSError as error:
            self._panic(self._database, f"a checkpoint was not synced: {error}")


_descriptors: Final[dict[Path, int]] = {}


def _descriptor(database: Path) -> int:
    """An open file of the database that is never closed.

    To close it would drop the locks that SQLite holds on the database for this process
    (https://www.sqlite.org/howtocorrupt.html §2.2).
    """
    path = database.resolve()
    if path not in _descriptors:
        _descriptors[path] = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    return _descriptors[path]
