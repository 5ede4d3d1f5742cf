"""Write lock of a SQLite database, taken in turn by the processes of a machine.

SQLite allows a single writer; others sleep and retry, ever longer. Here they wait for a lock on a
file beside the database, which the kernel passes on at once. This lock only saves time: SQLite
still enforces the single writer. The lock ends with its process.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PAUSE: Final = 0.0005  # seconds between two attempts to lock


class NoLock:
    """For a database with its own handling of several writers."""

    @contextmanager
    def held(self, timeout: float | None = None) -> Iterator[None]:  # noqa: ARG002 - as WriteLock's
        """Do nothing."""
        yield

    def close(self) -> None:
        """Nothing is open."""


class WriteLock:
    """The write lock in a process, whose threads take it in turn; `timeout` in seconds.

    After the timeout a writer continues without the lock: then SQLite's own lock reports the error.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._mine = threading.Lock()
        self._file = -1

    @contextmanager
    def held(self, timeout: float | None = None) -> Iterator[None]:
        """Hold the lock for the block; `timeout` overrides the usual timeout."""
        deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
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
        """Close the file once no thread writes any more."""
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
            return False  # no space for an empty file: SQLite will report it
        return False
