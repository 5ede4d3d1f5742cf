"""The turn to write to a SQLite database, taken by the processes of a node one after the other.

SQLite has one writer at a time, and lets the others sleep and try again, ever longer.  Here they
wait for a lock on a file beside the database, which the kernel hands on at once.  It only saves
time: that there is one writer is still SQLite's to say, and the lock ends with its process.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PAUSE: Final = 0.0005  # seconds between two looks at the lock


class NoTurn:
    """For a database that has its own way with many writers."""

    @contextmanager
    def taken(self, patience: float | None = None) -> Iterator[None]:  # noqa: ARG002 - as Turn's
        """Go ahead."""
        yield

    def close(self) -> None:
        """Nothing is open."""


class Turn:
    """The turn of one process, whose threads take it one after the other; `patience` in seconds.

    Who has waited in vain goes on without it: SQLite's own lock then says what is wrong.
    """

    def __init__(self, path: Path, patience: float) -> None:
        self._path = path
        self._patience = patience
        self._mine = threading.Lock()
        self._file = -1

    @contextmanager
    def taken(self, patience: float | None = None) -> Iterator[None]:
        """Wait for the turn, have it, and hand it on; `patience` instead of the usual one."""
        deadline = time.monotonic() + (self._patience if patience is None else patience)
        if not self._mine.acquire(timeout=max(deadline - time.monotonic(), 0)):
            yield
            return
        try:
            held = self._lock(deadline)
            try:
                yield
            finally:
                if held:
                    fcntl.flock(self._file, fcntl.LOCK_UN)
        finally:
            self._mine.release()

    def close(self) -> None:
        """Close the file, once no thread writes any more."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _lock(self, deadline: float) -> bool:
        try:
            if self._file < 0:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
                self._file = os.open(self._path, flags, 0o600)
            while time.monotonic() < deadline:
                try:
                    fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    time.sleep(_PAUSE)
                else:
                    return True
        except OSError:
            return False  # no room for an empty file: SQLite will say so
        return False
