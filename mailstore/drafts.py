"""A draft: the bytes of a message on their way in, before the blob store has made them durable.

It hashes and counts as it is written. Up to `MEMORY_LIMIT` it stays in memory, beyond that it goes
to a temporary file, so that memory does not depend on the sizes of messages.
"""

import errno
import hashlib
import io
import itertools
import os
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

from mailstore.errors import StoreUnavailable

MEMORY_LIMIT = 256 * 1024  # bytes of a draft that never touches the disk before it is sealed
_PROCESS = uuid4().hex  # so that processes that share the folder never meet
_numbers = itertools.count(1)
_WRITE_SIZE = 64 * 1024  # bytes gathered before each write, once there is a file
_CHUNK_SIZE = 128 * 1024  # bytes read back at a time


class Draft:
    """One message body being received, of one owner at a time; made by `FileBlobStore.draft()`.

    It ends by `discard()`, or by `FileBlobStore.seal()` whatever its outcome.
    """

    def __init__(self, directory: Path) -> None:
        self.size = 0
        self._hash = hashlib.sha256()
        self._buffer = bytearray()
        self._limit = MEMORY_LIMIT
        self._file: io.FileIO | None = None
        self._path = directory / f"draft-{_PROCESS}-{next(_numbers)}"
        self._ended: str | None = None

    @property
    def blob(self) -> str:
        """The name of the blob that this would be: SHA-256 in 64 lower-case hexadecimal digits."""
        return self._hash.hexdigest()

    def would_block(self, octets: int) -> bool:
        """Whether writing this many bytes more may touch the disk."""
        return len(self._buffer) + octets > self._limit

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes. Raises StoreUnavailable, after which the draft is discarded."""
        self._check_open()
        self._hash.update(data)
        self._buffer += data
        self.size += len(data)
        if len(self._buffer) > self._limit:
            try:
                self._flush()
            except OSError as error:
                self._fail(error)

    @property
    def spilled(self) -> bool:
        """Whether some of it is in its file, so that reading it back touches the disk."""
        return self._file is not None

    def chunks(self, size: int = _CHUNK_SIZE) -> Generator[bytes, None, None]:
        """Give what is written by the first step, `size` bytes at a time, the last ones fewer.

        What happens to the draft between two steps, its end included, does not show in the bytes.
        Close the iterator where it is not used up. Raises StoreUnavailable, after which the draft
        is discarded.
        """
        self._check_open()
        rest = memoryview(bytes(self._buffer))
        if self._file is not None:
            left = self.size - len(rest)
            try:
                # A descriptor of its own: that of the draft may be closed, and its number given to
                # another file, while another thread reads.
                with self._path.open("rb", buffering=0) as file:
                    while left:
                        piece = _read(file, min(size, left))
                        left -= len(piece)
                        yield piece
            except OSError as error:
                self._fail(error, "read from")
        for start in range(0, len(rest), size):
            yield bytes(rest[start : start + size])

    def discard(self) -> None:
        """Forget it, with its temporary file. May be called again, and after `seal`."""
        self._end("the draft was discarded")

    @property
    def ended(self) -> bool:
        """Whether it was discarded or placed, or failed."""
        return self._ended is not None

    # What follows is for the blob store alone, in this order: each step is a group's, and the
    # syncing of a group takes place side by side. Each raises StoreUnavailable, and then the draft
    # is discarded.

    def spill(self) -> None:
        """Write all of it to the temporary file."""
        self._check_open()
        try:
            self._flush()
        except OSError as error:
            self._fail(error)

    def sync(self) -> None:
        """Wait until the bytes are on disk."""
        self._check_open()
        try:
            os.fdatasync(self._opened().fileno())
        except OSError as error:
            self._fail(error)

    def place(self, target: Path) -> None:
        """Give it its name, which its bytes on disk deserve now; the directory is not synced."""
        self._check_open()
        try:
            self._opened().close()
            self._path.replace(target)
        except OSError as error:
            self._fail(error)
        self._file = None
        self._end("the draft was sealed")

    def _check_open(self) -> None:
        if self._ended is not None:
            raise StoreUnavailable(self._ended)

    def _opened(self) -> io.FileIO:
        if self._file is None:
            self._file = io.FileIO(self._path, "x", opener=_open_private)
            self._limit = _WRITE_SIZE
        return self._file

    def _flush(self) -> None:
        file = self._opened()
        with memoryview(self._buffer) as rest:
            written = 0
            while written < len(rest):
                written += file.write(rest[written:])
        self._buffer.clear()

    def _fail(self, error: OSError, what: str = "write to") -> NoReturn:
        reason = f"cannot {what} the blob store: {error.strerror}"
        self._end(reason)
        raise StoreUnavailable(reason) from error

    def _end(self, reason: str) -> None:
        self._ended = self._ended or reason
        self._buffer = bytearray()
        if self._file is not None:
            # What cannot be closed or removed now is left to FileBlobStore.sweep.
            with suppress(OSError):
                self._file.close()
            with suppress(OSError):
                self._path.unlink()
            self._file = None


def _read(file: io.FileIO, octets: int) -> bytes:
    piece = file.read(octets)
    if not piece:
        raise OSError(errno.EIO, "its file is cut short")
    return piece


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
