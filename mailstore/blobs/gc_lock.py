"""Keeps the freeing of blobs apart from their being given out anew, between all processes.

A blob that is here already is not written again: the one who counts on it marks it as used (its
mtime). Freeing looks at that mark and removes the file. Under this lock neither happens in the
middle of the other. It is flock(2) on the store's folder: shared to mark or place, alone to free,
each for moments only; the kernel takes it back from a process that dies.
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Guard:
    """The lock of one folder. `with guard:` shares it among threads and processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._lock = threading.Lock()
        self._holders = 0

    def __enter__(self) -> None:
        # A descriptor has one lock, whatever the number of threads that hold it.
        with self._lock:
            if not self._holders:
                fcntl.flock(self._descriptor, fcntl.LOCK_SH)
            self._holders += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep everybody else out, threads of this process included."""
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)
