"""A draft: the bytes of a message on their way in, before the blob store has made them durable.

It hashes and counts as it is written. Up to `MEMORY_LIMIT` it stays in memory, beyond that it goes
to a temporary file, so that memory does not depend on the sizes of messages.
"""

import hashlib
import io
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from mailstore.errors import StoreUnavailable

MEMORY_LIMIT = 256 * 1024  # bytes of a draft that never touches the disk before it is sealed
_WRITE_SIZE = 64 * 1024  # bytes gathered before each write, once there is a file


class Draft:
    """One message body being received, of one owner at a time; made by `FileBlobStore.draft()`.

    It ends by `discard()`, or by `FileBlobStore.seal()` whatever its outcome.
    """

    def __init__(self, directory: Path) -> None:
        self.size = 0
        self._directory = directory
        self._hash = hashlib.sha256()
        self._buffer = bytearray()
        self._limit = MEMORY_LIMIT
        self._file: io.FileIO | None = None
        self._path: Path | None = None
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

    def discard(self) -> None:
        """Forget it, with its temporary file. May be called again, and after `seal`."""
        self._end("the draft was discarded")

    def place(self, target: Path) -> None:
        """Write it all, sync it, then rename it to `target`: for the blob store alone.

        The name appears only once the bytes are on disk; the directory is left for the caller to
        sync. Raises StoreUnavailable, after which the draft is discarded.
        """
        self._check_open()
        try:
            file, path = self._flush()
            os.fdatasync(file.fileno())
            file.close()
            path.replace(target)
        except OSError as error:
            self._fail(error)
        self._path = None
        self._end("the draft was sealed")

    def _check_open(self) -> None:
        if self._ended is not None:
            raise StoreUnavailable(self._ended)

    def _flush(self) -> tuple[io.FileIO, Path]:
        if self._file is None or self._path is None:
            descriptor, name = tempfile.mkstemp(prefix="draft-", dir=self._directory)
            self._file, self._path = io.FileIO(descriptor, "w"), Path(name)
            self._limit = _WRITE_SIZE
        with memoryview(self._buffer) as rest:
            written = 0
            while written < len(rest):
                written += self._file.write(rest[written:])
        self._buffer.clear()
        return self._file, self._path

    def _fail(self, error: OSError) -> None:
        reason = f"cannot write to the blob store: {error.strerror}"
        self._end(reason)
        raise StoreUnavailable(reason) from error

    def _end(self, reason: str) -> None:
        self._ended = self._ended or reason
        self._buffer = bytearray()
        # What cannot be closed or removed now is left to FileBlobStore.sweep.
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            self._path = None
