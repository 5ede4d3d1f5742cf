"""Octets gathered in memory as they come, without copying what comes in large pieces."""

from typing import Final

_LARGE: Final = 16 * 1024  # octets from which on a piece is kept as it is


class Gathered:
    """Some octets, in the order that they came.

    Small pieces grow into one buffer, so that memory is that of the octets, however they are cut.
    """

    def __init__(self) -> None:
        self._parts: list[bytes | bytearray] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, piece: bytes | bytearray | memoryview) -> None:
        """Append a piece, which may change afterwards if it is not of bytes."""
        self._size += len(piece)
        if len(piece) >= _LARGE:
            self._parts.append(bytes(piece))
        elif self._parts and isinstance(self._parts[-1], bytearray):
            self._parts[-1] += piece
        else:
            self._parts.append(bytearray(piece))

    def whole(self) -> bytes:
        """All of them, copied together at most once."""
        if len(self._parts) == 1 and isinstance(self._parts[0], bytes):
            return self._parts[0]
        whole = b"".join(self._parts)
        self._parts = [whole]
        return whole

    def take(self, octets: int) -> memoryview:
        """Remove so many from the beginning, which are there."""
        whole = self.whole()
        self._parts, self._size = [], 0
        if octets < len(whole):
            self.add(whole[octets:])
        return memoryview(whole)[:octets]
