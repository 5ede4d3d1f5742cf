"""Lock between the marking and the freeing of blobs, across all processes.

A stored blob is not written again: a new reference marks it as used (its mtime). Freeing checks the
mark and removes the file. This lock keeps one from happening in the middle of the other. It is
flock(2) on the store's folder, shared to mark or place, exclusive to free, each for moments only;
the kernel releases it for a dead process.
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class GcLock:
    """The lock of a folder. `with guard:` shares it among threads and processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._lock = threading.Lock()
        self._holders = 0

    def __enter__(self) -> None:
        # A descriptor has a single lock, shared by all threads.
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
    def exclusive(self) -> Iterator[None]:
        """Hold the lock exclusively, against threads of this process too."""
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)
