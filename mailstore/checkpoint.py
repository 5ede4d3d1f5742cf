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
"""

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

EVERY: Final = 64  # write transactions of a process between two checkpoints

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
    """The checkpoints that one process makes of one database, each in its turn to write."""

    def __init__(self, database: Path, panic: Callable[[Path, str], None] = end_all) -> None:
        self._database = database
        self._panic = panic
        self._left = EVERY

    def due(self) -> bool:
        """Tell after a write transaction whether it is time."""
        self._left -= 1
        if self._left:
            return False
        self._left = EVERY
        return True

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
