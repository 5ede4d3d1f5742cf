"""Optional compression of blobs by Zstandard (RFC 8878), segment by segment.

Python 3.14 has the library; for earlier versions it is `backports-zstd`, an extra dependency.
"""

import importlib
from typing import Any

from mailstore.errors import StoreUnavailable


class Zstd:
    """Compression at a cheap level. Raises StoreUnavailable without the library."""

    def __init__(self) -> None:
        self._library = _library()

    def compress(self, data: bytes | bytearray | memoryview, /) -> bytes:
        """Compress a segment into a frame without checksum: encryption or hash protect it."""
        packed: bytes = self._library.compress(data)
        return packed

    def decompress(self, data: bytes, limit: int, /) -> bytes:
        """Decompress a frame. Raises ValueError for other data, or more than `limit` octets."""
        decompressor = self._library.ZstdDecompressor()
        try:
            content: bytes = decompressor.decompress(data, max_length=limit)
        except self._library.ZstdError:
            raise ValueError("no Zstandard frame") from None
        if not decompressor.eof or decompressor.unused_data:
            raise ValueError("not one Zstandard frame")
        return content


def _library() -> Any:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise StoreUnavailable("zstd needs Python 3.14, or the package backports-zstd")
