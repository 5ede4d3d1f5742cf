"""Reader of a blob in a bucket: its object as a file, in blocks, even if it is replaced.

An object never changes, but a newer object of the same content may replace it during the reading;
the reading then continues in the newer object.
"""

import io
import os
from collections.abc import Callable
from typing import Any, BinaryIO, Final

from mailstore.errors import NotFound
from mailstore.s3.bucket import Bucket, ObjectInfo

BLOCK: Final = 1024 * 1024  # octets per request
_SKIPPED: Final = 64 * 1024  # octets skipped at a time


class ObjectFile(io.RawIOBase):
    """An object as a readable file; a single block of it is in memory.

    Reading raises NotFound once the object is gone, and StoreUnavailable.
    """

    def __init__(self, bucket: Bucket, found: ObjectInfo) -> None:
        self._bucket = bucket
        self._found = found
        self._position = 0
        self._block = memoryview(b"")
        self._begins = 0  # position of the block

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Set the position; makes no request."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._found.size}
        self._position = base[whence] + offset
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer as far as there are octets; 0 at the end."""
        wanted = max(min(len(buffer), self._found.size - self._position), 0)
        done = 0
        while done < wanted:
            block = self._block_at(self._position + done)
            if not block:
                break  # shorter than listed: the caller knows the expected content
            taken = min(len(block), wanted - done)
            buffer[done : done + taken] = block[:taken]
            done += taken
        # Only after all octets are here: after an error the same octets can be requested again.
        self._position += done
        return done

    def _block_at(self, position: int) -> memoryview:
        begin = position - self._begins
        if not 0 <= begin < len(self._block):
            end = min(position + BLOCK, self._found.size)
            self._block = self._bucket.read(self._found.key, position, end)
            self._begins, begin = position, 0
        return self._block[begin:]


class LastingContent(io.RawIOBase):
    """The content of a blob; continued in another of its objects when an object is gone.

    `content` is open at its beginning. `opened` opens the content again, and raises NotFound if the
    blob has no object.
    """

    def __init__(self, content: BinaryIO, opened: Callable[[], BinaryIO]) -> None:
        self._opened = opened
        self._content = content
        self._given = 0

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read some octets of the content, 0 at its end; errors as `BlobStore.open`."""
        try:
            data = self._content.read(len(buffer))
        except NotFound:
            self._content.close()
            self._content = self._opened()
            self._skip(self._given)
            data = self._content.read(len(buffer))
        buffer[: len(data)] = data
        self._given += len(data)
        return len(data)

    def close(self) -> None:
        """Close the object too."""
        self._content.close()
        super().close()

    def _skip(self, octets: int) -> None:
        while octets and (passed := self._content.read(min(octets, _SKIPPED))):
            octets -= len(passed)
