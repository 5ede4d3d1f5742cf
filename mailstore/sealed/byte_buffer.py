"""Byte buffer: collects octets in memory, without copying large pieces."""

from typing import Final

_LARGE: Final = 16 * 1024  # smallest piece, in octets, that is kept as it is


class ByteBuffer:
    """Octets, in order of arrival.

    Small pieces are merged into a single buffer, so that memory use is that of the octets, however
    they are cut.
    """

    def __init__(self) -> None:
        self._parts: list[bytes | bytearray] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, piece: bytes | bytearray | memoryview) -> None:
        """Append a piece; it may change afterwards unless it is bytes."""
        self._size += len(piece)
        if len(piece) >= _LARGE:
            self._parts.append(bytes(piece))
        elif self._parts and isinstance(self._parts[-1], bytearray):
            self._parts[-1] += piece
        else:
            self._parts.append(bytearray(piece))

    def whole(self) -> bytes:
        """All octets as bytes, copied at most once."""
        if len(self._parts) == 1 and isinstance(self._parts[0], bytes):
            return self._parts[0]
        whole = b"".join(self._parts)
        self._parts = [whole]
        return whole

    def take(self, octets: int) -> memoryview:
        """Remove `octets` from the beginning; they must be there."""
        whole = self.whole()
        self._parts, self._size = [], 0
        if octets < len(whole):
            self.add(whole[octets:])
        return memoryview(whole)[:octets]
