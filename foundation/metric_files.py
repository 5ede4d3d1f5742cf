"""Metrics files for which a full or broken disk is no error and does not end the process.

prometheus_client maps a file for each process into memory (mmap) and grows it without allocating
disk space: on a full disk the kernel kills the writing process (SIGBUS). Where no file can be made,
each new metric raises. This module allocates the space first. Without space, the process counts in
memory and moves to a file as soon as there is space
(docs/decisions/0032-information-is-best-effort.md).
"""

import mmap
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, ClassVar, Final

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

AGAIN_SECONDS: Final = 5.0  # between two attempts to get a file
FIRST_OCTETS: Final = 1 << 16  # first size of a file, as in prometheus_client
_FRAME: Final = 32  # most octets of an entry without its key


class MetricFile(MmapedDict):
    """Values of a kind of metrics in a process; not thread-safe, as its base class."""

    _f: Any  # a file or None; prometheus_client only knows files
    without_file: ClassVar[set["MetricFile"]] = set()  # this process's files that are in memory

    def __init__(self, filename: str, read_mode: bool = False) -> None:  # noqa: FBT001, FBT002 - its base's
        self._path = Path(filename)
        self._again = 0.0
        if read_mode:
            super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]  # prometheus_client
            return
        try:
            size = self._path.stat().st_size if self._path.exists() else 0
            os.close(_allocated(self._path, max(size, FIRST_OCTETS)))
            super().__init__(filename)  # type: ignore[no-untyped-call]  # prometheus_client
        except OSError:
            self._fname, self._f, self._positions = filename, None, {}
            self._m, self._capacity, self._used = mmap.mmap(-1, FIRST_OCTETS), FIRST_OCTETS, 8
            self._m[:4] = self._used.to_bytes(4, sys.byteorder)
            self._miss()

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        """Set a value."""
        if self._again and time.monotonic() >= self._again:
            self._move_to_file()
        super().write_value(key, value, timestamp)  # type: ignore[no-untyped-call]  # prometheus_client

    def close(self) -> None:
        """Close the file."""
        self.without_file.discard(self)
        if self._f is None and self._m is not None:
            self._m.close()
        super().close()  # type: ignore[no-untyped-call]  # prometheus_client

    def _init_value(self, key: str) -> None:
        needed, size = self._used + len(key.encode()) + _FRAME, self._capacity
        while size < needed:
            size *= 2
        if size > self._capacity:
            self._grow(size)
        super()._init_value(key)  # type: ignore[no-untyped-call]  # prometheus_client

    def _grow(self, size: int) -> None:
        if self._f is not None:
            try:
                os.posix_fallocate(self._f.fileno(), 0, size)
            except OSError:
                self._miss()
            else:
                self._go_on(self._f, size)
                return
        self._go_on(None, size)

    def _miss(self) -> None:
        self._again = time.monotonic() + AGAIN_SECONDS
        self.without_file.add(self)

    def _move_to_file(self) -> None:
        try:
            descriptor = _allocated(self._path, self._capacity)
        except OSError:
            self._miss()
            return
        self._go_on(os.fdopen(descriptor, "r+b"), self._capacity)
        self._again = 0.0
        self.without_file.discard(self)

    def _go_on(self, file: IO[bytes] | None, size: int) -> None:
        """Move the values to `file`, which has `size` octets allocated, or to memory (None)."""
        octets = self._m[: self._used]
        self._m.close()
        if self._f is not None and self._f is not file:
            self._f.close()
        self._m = mmap.mmap(-1 if file is None else file.fileno(), size)
        self._m[: self._used] = octets
        self._f, self._capacity = file, size


def _allocated(path: Path, size: int) -> int:
    """Open a file with its space allocated; return the descriptor. OSError: no file is left."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError:
        os.close(descriptor)
        with suppress(OSError):
            path.unlink()  # a file without space could not be read either
        raise
    return descriptor


def install() -> None:
    """Make prometheus_client use `MetricFile`, in this process and its forks."""
    values.MmapedDict = MetricFile  # type: ignore[attr-defined]  # looked up for each file
