"""A draft: the bytes of a message on their way in, before the blob store has made them durable.

It hashes and counts as it is written. Up to `MEMORY_LIMIT` it stays in memory, up to `MOST` while
there is room among the drafts of the process, and beyond that it goes to a temporary file, so that
memory does not depend on the sizes of messages. The file has the form of the blob from the start:
what is encrypted at rest is never on disk in clear.
"""

import hashlib
import io
import os
import threading
from collections.abc import Generator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

from foundation.failpoints import reached
from mailstore.errors import BlobDamaged, StoreUnavailable
from mailstore.sealed.blob_format import HEADER, SEGMENT, Form, Sealer
from mailstore.sealed.blob_reader import Content
from mailstore.sealed.byte_buffer import Gathered
from mailstore.sealed.keyring import open_private

MEMORY_LIMIT = 256 * 1024  # bytes of a draft that never touches the disk before it is sealed
MOST = 2 * 1024 * 1024  # bytes of one that there is room for
_CHUNK_SIZE = 128 * 1024  # bytes read back at a time
_AT_ONCE = 64  # segments in one write; the system takes 1024


class Room:
    """Bytes that all drafts of a process together may have in memory beyond `MEMORY_LIMIT` each.

    A message that stays in memory to its end costs one write in place of many, each of which has to
    wait for a thread.
    """

    def __init__(self, octets: int = 0) -> None:
        self._left = octets
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take `MEMORY_LIMIT` bytes, if they are left."""
        with self._lock:
            if self._left < MEMORY_LIMIT:
                return False
            self._left -= MEMORY_LIMIT
            return True

    def give_back(self, octets: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self._left += octets


_NO_ROOM = Room()


class Draft:
    """One message body being received, of one owner at a time; made by `FileBlobStore.draft()`.

    It ends by `discard()`, or by `FileBlobStore.seal()` whatever its outcome.
    """

    def __init__(
        self,
        directory: Path,
        form: Form = Form(),  # noqa: B008 - frozen
        room: Room = _NO_ROOM,
    ) -> None:
        self.size = 0
        self._hash = hashlib.sha256()
        self._buffer = Gathered()
        self._limit = MEMORY_LIMIT
        self._room = room
        self._taken = 0
        self._form = form
        self._file: io.FileIO | None = None
        self._sealer: Sealer | None = None
        self._sealed = False
        self._directory = directory
        self._ended: str | None = None

    @property
    def blob(self) -> str:
        """The name of the blob that this would be: SHA-256 in 64 lower-case hexadecimal digits."""
        return self._hash.hexdigest()

    def would_block(self, octets: int) -> bool:
        """Whether writing this many bytes more may touch the disk; makes room if it can."""
        return not self._fits(len(self._buffer) + octets)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes. Raises StoreUnavailable, after which the draft is discarded."""
        self._check_open()
        self._hash.update(data)
        self._buffer.add(data)
        self.size += len(data)
        if not self._fits(len(self._buffer)):
            try:
                self._flush()
            except OSError as error:
                self._fail(error)
            reached("draft.spilled")

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
        rest = memoryview(self._buffer.whole())
        if self._sealer is not None:
            header, opener = self._sealer.so_far()
            try:
                # A descriptor of its own: that of the draft may be closed, and its number given to
                # another file, while another thread reads.
                file = self._path.open("rb", buffering=0)
                raw = Content(file, header, opener, finished=self._sealed)
                with io.BufferedReader(raw, SEGMENT) as content:
                    while piece := content.read(size):
                        yield piece
            except (OSError, BlobDamaged) as error:
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

    def sealed(self) -> bytes:
        """All of it in the form of a blob, for one that has not spilled; ends it."""
        self._check_open()
        sealer = self._form.sealer()
        parts = sealer.segments(memoryview(self._buffer.whole()), last=True)
        whole = b"".join([sealer.header(self.blob, self.size), *parts])
        self._end("the draft was sealed")
        return whole

    # What follows is for the blob store alone, in this order: each step is a group's, and the
    # syncing of a group takes place side by side. Each raises StoreUnavailable, and then the draft
    # is discarded.

    def spill(self) -> None:
        """Write all of it to the temporary file, in the form that it is to have."""
        self._check_open()
        if self._sealed:
            return
        try:
            self._flush(last=True)
        except OSError as error:
            self._fail(error)

    def sync(self) -> None:
        """Wait until the bytes are on disk."""
        self._check_open()
        try:
            os.fdatasync(self._opened()[0].fileno())
        except OSError as error:
            self._fail(error)

    def place(self, target: Path) -> None:
        """Give it its name, which its bytes on disk deserve now; the directory is not synced."""
        self._check_open()
        try:
            self._opened()[0].close()
            self._path.replace(target)
        except OSError as error:
            self._fail(error)
        self._file = None
        self._end("the draft was sealed")

    @cached_property
    def _path(self) -> Path:
        # Most never need one.  Processes that share the folder never meet.
        return self._directory / f"draft-{uuid4().hex}"

    def _fits(self, octets: int) -> bool:
        while octets > self._limit:
            if self._file is not None or self._limit >= MOST or not self._room.take():
                return False
            self._taken += MEMORY_LIMIT
            self._limit += MEMORY_LIMIT
        return True

    def _leave_room(self) -> None:
        if self._taken:
            self._room.give_back(self._taken)
            self._taken = 0

    def _check_open(self) -> None:
        if self._ended is not None:
            raise StoreUnavailable(self._ended)

    def _opened(self) -> tuple[io.FileIO, Sealer]:
        if self._file is None or self._sealer is None:
            self._sealer = self._form.sealer()
            self._file = open_private(self._path)
            self._limit = SEGMENT
            self._leave_room()
        return self._file, self._sealer

    def _flush(self, *, last: bool = False) -> None:
        begun = self._file is not None
        file, sealer = self._opened()
        # Only the last segment may be short, and it has to be known for the last.
        octets = len(self._buffer) if last else (len(self._buffer) - 1) // SEGMENT * SEGMENT
        parts = sealer.segments(self._buffer.take(octets), last=last)
        header = sealer.header(self.blob, self.size) if last else bytes(HEADER)
        _write(file, parts if begun else [header, *parts])
        if begun and last:
            file.seek(0)
            _write(file, [header])
        self._sealed = last

    def _fail(self, error: OSError | BlobDamaged, what: str = "write to") -> NoReturn:
        why = error.strerror if isinstance(error, OSError) else str(error)
        reason = f"cannot {what} the blob store: {why}"
        self._end(reason)
        raise StoreUnavailable(reason) from error

    def _end(self, reason: str) -> None:
        self._ended = self._ended or reason
        self._buffer = Gathered()
        self._leave_room()
        if self._file is not None:
            # What cannot be closed or removed now is left to FileBlobStore.sweep.
            with suppress(OSError):
                self._file.close()
            with suppress(OSError):
                self._path.unlink()
            self._file = None


def _write(file: io.FileIO, parts: Sequence[bytes | memoryview]) -> None:
    for start in range(0, len(parts), _AT_ONCE):
        group = parts[start : start + _AT_ONCE]
        written = os.writev(file.fileno(), group)
        if written < sum(map(len, group)):  # the disk is full, say, which the next attempt tells
            rest = memoryview(b"".join(group))
            while written < len(rest):
                written += file.write(rest[written:])
