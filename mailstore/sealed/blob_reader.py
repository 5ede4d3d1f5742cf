"""Reader of a blob: each segment is verified before any octet of it is returned.

Encrypted content is verified while it is read: name and sizes first, then each segment. Plain
content is hashed to its end first, since only its name or the tag in its header proves it.
"""

import hashlib
import io
import os
from typing import Any, BinaryIO

from mailstore.errors import BlobDamaged, KeyMissing
from mailstore.sealed.blob_format import (
    FRAME,
    HEADER,
    LONGEST,
    SEGMENT,
    TAG,
    BlobHeader,
    SegmentOpener,
    open_whole,
    plain_tag,
)
from mailstore.sealed.compression import Zstd
from mailstore.sealed.keyring import Key, Keyring

Stored = io.RawIOBase | io.BytesIO  # a seekable blob in its stored form


def open_content(file: Stored, name: str, keys: Keyring | None) -> BinaryIO:
    """Open the content of the blob `name`; its file is closed with it, or by an error.

    Raises BlobDamaged, KeyMissing, StoreUnavailable, OSError; so may each later reading.
    """
    try:
        header = read_header(file)
        if header is None:
            file.seek(0)
            _hold_to(name, file)
            file.seek(0)
            return io.BufferedReader(file) if isinstance(file, io.RawIOBase) else file
        key = None if header.key_id is None else _key(keys, header.key_id)
        opener = SegmentOpener(key, header, Zstd() if header.compressed else None)
        opener.check(name, file.seek(0, os.SEEK_END))
        content = BlobContent(file, header, opener, name=f"cannot read the blob {name}: ")
        if key is None:
            _hold_to(name, content, header.tag)
            content.rewind()
        return io.BufferedReader(content, SEGMENT)
    except BaseException:
        file.close()
        raise


def content_of(stored: bytes, name: str, keys: Keyring | None) -> bytes:
    """The content of the blob `name` in memory; for one sealed segment without a file's detours.

    Raises as `open_content`.
    """
    header = BlobHeader.parse(stored[:HEADER])
    if (
        header is None
        or header.key_id is None
        or header.compressed
        or len(stored) > HEADER + SEGMENT + TAG
    ):
        with open_content(io.BytesIO(stored), name, keys) as file:
            return file.read()
    try:
        return open_whole(stored, name, _key(keys, header.key_id), header)
    except BlobDamaged as error:
        raise BlobDamaged(f"cannot read the blob {name}: {error}") from error


def read_header(file: Stored) -> BlobHeader | None:
    """Header of a blob's file, None without a header. Raises BlobDamaged and OSError."""
    file.seek(0)
    return BlobHeader.parse(file.read(HEADER) or b"")


def _hold_to(name: str, content: Stored, tag: bytes = b"") -> None:
    """Check content against its hash, which is its name or in the tag."""
    digest, buffer = hashlib.sha256(), bytearray(SEGMENT)
    while octets := content.readinto(buffer):
        digest.update(memoryview(buffer)[:octets])
    if digest.hexdigest() != name and plain_tag(name, digest.digest()) != tag:
        raise BlobDamaged("its content was altered")


def _key(keys: Keyring | None, key_id: bytes) -> Key:
    if keys is None:
        raise KeyMissing(f"the key {key_id.hex()} is needed, and there is no key file")
    return keys.get(key_id)


class BlobContent(io.RawIOBase):
    """Content after a header, of a finished file or a file still being written."""

    def __init__(
        self,
        file: Stored,
        header: BlobHeader,
        opener: SegmentOpener,
        *,
        name: str = "",
        finished: bool = True,
    ) -> None:
        self._file = file
        self._header = header
        self._opener = opener
        self._name = name
        self._finished = finished
        self.rewind()

    def rewind(self) -> None:
        """Start again."""
        self._opener.rewind()
        self._left = self._header.stored - HEADER
        self._ready = memoryview(b"")
        self._file.seek(HEADER)

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read some octets of the content, 0 at its end. Raises BlobDamaged and OSError."""
        while not self._ready and self._left:
            try:
                self._ready = memoryview(self._next())
            except BlobDamaged as error:
                raise BlobDamaged(f"{self._name}{error}") from error
        taken = min(len(buffer), len(self._ready))
        buffer[:taken] = self._ready[:taken]
        self._ready = self._ready[taken:]
        return taken

    def readall(self) -> bytes:
        """Return the rest of the content, without a copy of each piece. Errors as `readinto`."""
        pieces = [bytes(self._ready)]
        self._ready = memoryview(b"")
        try:
            while self._left:
                pieces.append(self._next())
        except BlobDamaged as error:
            raise BlobDamaged(f"{self._name}{error}") from error
        return b"".join(pieces)

    def close(self) -> None:
        """Close the file too."""
        self._file.close()
        super().close()

    def _next(self) -> bytes:
        octets = self._opener.longest()
        if self._header.compressed:
            (octets,) = FRAME.unpack(self._read(FRAME.size))
            if octets > LONGEST:
                raise BlobDamaged("a segment of it is longer than any")
        data = self._read(min(octets, self._left))
        return self._opener.segment(data, last=self._finished and not self._left)

    def _read(self, octets: int) -> bytes:
        data = self._file.read(octets) or b""
        self._left -= len(data)
        if len(data) < octets:
            # All further octets are wrong: each later reading raises the same error.
            self._left += len(data)
            raise BlobDamaged("its file is cut short")
        return data
