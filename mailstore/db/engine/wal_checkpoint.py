"""Checkpoints of SQLite: copying its log (WAL) into the database file, safe against a failed fsync.

A checkpoint that a reader cuts short copies pages and counts them as done without a sync; the
checkpoint that completes it syncs the file. If that sync fails, the kernel may have dropped the
pages of both, and the next sync reports success (https://lwn.net/Articles/752063/). SQLite would
then restart its log and lose the last copy. Until then the log has all pages, and is read from its
beginning once the index over it (shared memory of all processes) is gone. So after such an error,
each process that has this index is killed before it can use it again; the next process to open the
database reads the log.

SQLite's own checkpoints run in some commits and do not report errors; they are turned off.

A checkpoint writes and syncs tens of megabytes. Mail must not wait for that: it runs in its own
thread, beside the writers. The pages added meanwhile are few, and are copied under the write lock,
after which the log can restart.
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

from mailstore.db.engine.write_lock import NoLock, WriteLock
from mailstore.errors import StoreUnavailable

EVERY: Final = 64  # most write transactions of a process between two checkpoints
ROWS: Final = 8_000  # most changed rows in between: few transactions may fill the log too

_SQLITE_IOERR_FSYNC: Final = 1034  # https://www.sqlite.org/rescode.html
_SQLITE_IOERR_DIR_FSYNC: Final = 1290


def end_all(database: Path, reason: str) -> None:
    """Kill each process that shares the index of this database's log, this process last."""
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
    """The checkpoints of a process for a database.

    `lend` gives a connection for the checkpoint thread.
    """

    def __init__(
        self,
        database: Path,
        lend: Callable[[], AbstractContextManager[sqlite3.Connection]],
        turn: WriteLock | NoLock,
        panic: Callable[[Path, str], None] = end_all,
    ) -> None:
        self._database = database
        self._lend = lend
        self._turn = turn
        self._panic = panic
        self._left = EVERY
        self._rows = 0  # rows changed by the process at the start of the last checkpoint
        self._thread: ThreadPoolExecutor | None = None
        self._running: Future[None] | None = None

    def written(self, rows: int) -> None:
        """Count a write transaction; begin a checkpoint if one is due and none is running.

        `rows` is the total of rows changed by the process.
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
        """Wait for the running checkpoint."""
        if self._thread is not None:
            self._thread.shutdown()

    def _make(self) -> None:
        # Its errors are ignored: the log stays as it is, for the next time.
        with self._lend() as connection:
            self.run(connection)
            self._sync()
            with self._turn.held():
                self.run(connection)

    def run(self, connection: sqlite3.Connection) -> None:
        """Copy the pages that no reader blocks; never returns after a failed sync.

        Other errors leave the log as it is, for the next time.
        """
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0)
            if code in {_SQLITE_IOERR_FSYNC, _SQLITE_IOERR_DIR_FSYNC}:
                self._panic(self._database, f"a checkpoint was not synced: {error}")

    def rewrite(self, connection: sqlite3.Connection) -> bool:
        """Write the file anew under the write lock and empty the log; False if readers prevent it.

        Raises StoreUnavailable; never returns after a failed sync.
        """
        try:
            connection.execute("VACUUM")
            ((busy, _, _),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0)
            if code in {_SQLITE_IOERR_FSYNC, _SQLITE_IOERR_DIR_FSYNC}:
                self._panic(self._database, f"a checkpoint was not synced: {error}")
            raise StoreUnavailable(f"cannot write {self._database} anew: {error}") from error
        return not busy

    def _sync(self) -> None:
        """Sync the pages copied beside writers; SQLite itself syncs only without them."""
        try:
            os.fdatasync(_descriptor(self._database))
        except OSError as error:
            self._panic(self._database, f"a checkpoint was not synced: {error}")


_descriptors: Final[dict[Path, int]] = {}


def _descriptor(database: Path) -> int:
    """A descriptor of the database that is never closed.

    Closing it would drop the locks that SQLite holds on the database for this process
    (https://www.sqlite.org/howtocorrupt.html §2.2).
    """
    path = database.resolve()
    if path not in _descriptors:
        _descriptors[path] = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    return _descriptors[path]
