"""Draft: the octets of an arriving message, before the blob store has made them durable.

The draft is counted while it is written, and hashed if it is not to be encrypted. It stays in
memory up to `MEMORY_LIMIT`, and up to `EXTENDED_LIMIT` while the process has room for drafts.
Beyond that it goes to a temporary file, so that memory does not depend on message sizes. The file
has the blob's form from the start: content that is encrypted at rest is never on disk in clear.
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

from foundation.failpoints import failpoint
from mailstore.errors import BlobDamaged, StoreUnavailable
from mailstore.sealed.blob_format import HEADER, SEGMENT, BlobFormat, SegmentSealer
from mailstore.sealed.blob_reader import BlobContent
from mailstore.sealed.byte_buffer import ByteBuffer
from mailstore.sealed.key_file import open_private

MEMORY_LIMIT = 256 * 1024  # octets of a draft that stays in memory
EXTENDED_LIMIT = 2 * 1024 * 1024  # octets of a draft that got extra room
_NAME_OCTETS = 32
_CHUNK_SIZE = 128 * 1024  # octets read back at a time
_AT_ONCE = 64  # segments per write; the system allows 1024


class DraftMemory:
    """Memory of all drafts of a process together, in octets, beyond `MEMORY_LIMIT` each.

    A message that stays in memory to its end costs a single write instead of many, each of which
    has to wait for a thread.
    """

    def __init__(self, octets: int = 0) -> None:
        self._left = octets
        self._lock = threading.Lock()

    def reserve(self) -> bool:
        """Reserve `MEMORY_LIMIT` octets; False if they are not left."""
        with self._lock:
            if self._left < MEMORY_LIMIT:
                return False
            self._left -= MEMORY_LIMIT
            return True

    def release(self, octets: int) -> None:
        """Release reserved octets."""
        with self._lock:
            self._left += octets


_NO_MEMORY = DraftMemory()


class Draft:
    """A message body being received, with a single owner at a time; made by `BlobStore.draft()`.

    It ends by `discard()`, or by `BlobStore.seal()` with any outcome. `name`: of an existing blob
    that it will replace, with the same content; a new blob gets a new name.
    """

    def __init__(
        self,
        directory: Path,
        form: BlobFormat = BlobFormat(),  # noqa: B008 - frozen
        room: DraftMemory = _NO_MEMORY,
        name: str = "",
    ) -> None:
        self.size = 0
        encrypted = form.key is not None
        # Encryption verifies the content, and the name must not tell it.
        self._hash = None if encrypted else hashlib.sha256()
        self._name = name or (os.urandom(_NAME_OCTETS).hex() if encrypted else "")
        self._buffer = ByteBuffer()
        self._limit = MEMORY_LIMIT
        self._room = room
        self._taken = 0
        self._form = form
        self._file: io.FileIO | None = None
        self._sealer: SegmentSealer | None = None
        self._sealed = False
        self._directory = directory
        self._ended: str | None = None

    @property
    def blob(self) -> str:
        """The name of the future blob, 64 lower-case hexadecimal digits.

        Random if it is encrypted, else the SHA-256 of the content.
        """
        return self._name or self._digest().hex()

    @property
    def named_by_content(self) -> bool:
        """True if an equal blob may exist under the name."""
        return not self._name

    def would_block(self, octets: int) -> bool:
        """True if writing `octets` more may touch the disk; reserves room if possible."""
        return not self._fits(len(self._buffer) + octets)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append octets. Raises StoreUnavailable; the draft is then discarded."""
        self._check_open()
        if self._hash is not None:
            self._hash.update(data)
        self._buffer.add(data)
        self.size += len(data)
        if not self._fits(len(self._buffer)):
            try:
                self._flush()
            except OSError as error:
                self._fail(error)
            failpoint("draft.spilled")

    @property
    def spilled(self) -> bool:
        """True if a part is in the temporary file, so that reading back touches the disk."""
        return self._file is not None

    def chunks(self, size: int = _CHUNK_SIZE) -> Generator[bytes, None, None]:
        """Yield the octets written before the first step, `size` at a time.

        Later changes of the draft, its end included, do not affect the result. Close an iterator
        that is not exhausted. Raises StoreUnavailable; the draft is then discarded.
        """
        self._check_open()
        rest = memoryview(self._buffer.whole())
        if self._sealer is not None:
            header, opener = self._sealer.so_far()
            try:
                # A separate descriptor: the draft's own may be closed, and its number reused for
                # another file, while another thread reads.
                file = self._path.open("rb", buffering=0)
                raw = BlobContent(file, header, opener, finished=self._sealed)
                with io.BufferedReader(raw, SEGMENT) as content:
                    while piece := content.read(size):
                        yield piece
            except (OSError, BlobDamaged) as error:
                self._fail(error, "read from")
        for start in range(0, len(rest), size):
            yield bytes(rest[start : start + size])

    def discard(self) -> None:
        """End the draft and remove its temporary file. May be called again, and after `seal`."""
        self._end("the draft was discarded")

    @property
    def ended(self) -> bool:
        """True if the draft was discarded or placed, or has failed."""
        return self._ended is not None

    def sealed(self) -> bytes:
        """Return the blob's octets, for a draft that has not spilled; ends the draft."""
        self._check_open()
        sealer = self._form.sealer()
        parts = sealer.segments(memoryview(self._buffer.whole()), last=True)
        whole = b"".join([sealer.header(self.blob, self.size, self._digest()), *parts])
        self._end("the draft was sealed")
        return whole

    # The following steps are for the blob store alone, in this order. Each step is done for a whole
    # group, and the syncs of a group run in parallel. Each raises StoreUnavailable; the draft is
    # then discarded.

    def spill(self) -> None:
        """Write the whole draft to the temporary file, in its final form."""
        self._check_open()
        if self._sealed:
            return
        try:
            self._flush(last=True)
        except OSError as error:
            self._fail(error)

    def sync(self) -> None:
        """Wait until the octets are on disk."""
        self._check_open()
        try:
            os.fdatasync(self._opened()[0].fileno())
        except OSError as error:
            self._fail(error)

    def place(self, target: Path) -> None:
        """Rename the synced file to its blob name; the directory is not synced."""
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
        # Computed on demand: most drafts never need it. Unique among processes that share the
        # folder.
        return self._directory / f"draft-{uuid4().hex}"

    def _digest(self) -> bytes:
        return b"" if self._hash is None else self._hash.digest()

    def _fits(self, octets: int) -> bool:
        while octets > self._limit:
            if self._file is not None or self._limit >= EXTENDED_LIMIT or not self._room.reserve():
                return False
            self._taken += MEMORY_LIMIT
            self._limit += MEMORY_LIMIT
        return True

    def _leave_room(self) -> None:
        if self._taken:
            self._room.release(self._taken)
            self._taken = 0

    def _check_open(self) -> None:
        if self._ended is not None:
            raise StoreUnavailable(self._ended)

    def _opened(self) -> tuple[io.FileIO, SegmentSealer]:
        if self._file is None or self._sealer is None:
            self._sealer = self._form.sealer()
            self._file = open_private(self._path)
            self._limit = SEGMENT
            self._leave_room()
        return self._file, self._sealer

    def _flush(self, *, last: bool = False) -> None:
        begun = self._file is not None
        file, sealer = self._opened()
        # Only the last segment may be short, and must be known as the last.
        octets = len(self._buffer) if last else (len(self._buffer) - 1) // SEGMENT * SEGMENT
        parts = sealer.segments(self._buffer.take(octets), last=last)
        header = sealer.header(self.blob, self.size, self._digest()) if last else bytes(HEADER)
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
        self._buffer = ByteBuffer()
        self._leave_room()
        if self._file is not None:
            # Files that cannot be closed or removed now are left to `FileBlobStore.sweep`.
            with suppress(OSError):
                self._file.close()
            with suppress(OSError):
                self._path.unlink()
            self._file = None


def _write(file: io.FileIO, parts: Sequence[bytes | memoryview]) -> None:
    for start in range(0, len(parts), _AT_ONCE):
        group = parts[start : start + _AT_ONCE]
        written = os.writev(file.fileno(), group)
        if written < sum(map(len, group)):  # for example a full disk; the next write reports it
            rest = memoryview(b"".join(group))
            while written < len(rest):
                written += file.write(rest[written:])
