"""What a connection reads through TLS, without copies in between.

asyncio hands octets to a Protocol as one `bytes` for each record or more, and uvloop makes a buffer
of 256 kB for each record before it knows its size.  A BufferedProtocol says where they are to go:
here, into one buffer that all connections of a process share, since nothing else runs between the
reading of a piece and its being taken.
"""

import asyncio
from typing import Final, Protocol

# As much as TLS has ready at once.  A view: asyncio reads on behind the first record into a slice
# of what it was given, which of a bytearray would be a copy.
_BUFFER: Final = memoryview(bytearray(256 * 1024))


class Reader(Protocol):
    """Who takes the octets, and hears what else happens to the connection."""

    def data_received(self, data: bytes | memoryview) -> None:
        """Octets from the peer, to be copied before this returns."""

    def eof_received(self) -> bool:
        """The peer stopped sending."""

    def pause_writing(self) -> None:
        """The peer does not read."""

    def resume_writing(self) -> None:
        """The peer reads again."""

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""


class Secured(asyncio.BufferedProtocol):
    """Stands before a reader from STARTTLS on."""

    def __init__(self, reader: Reader) -> None:
        self._reader: Reader | None = reader

    def get_buffer(self, _size_hint: int) -> memoryview:
        """Where the next octets go."""
        return _BUFFER

    def buffer_updated(self, octets: int) -> None:
        """So many are there."""
        if self._reader is not None:
            with _BUFFER[:octets] as piece:
                self._reader.data_received(piece)

    def eof_received(self) -> bool:
        """The peer stopped sending."""
        return self._reader is not None and self._reader.eof_received()

    def pause_writing(self) -> None:
        """The peer does not read."""
        if self._reader is not None:
            self._reader.pause_writing()

    def resume_writing(self) -> None:
        """The peer reads again."""
        if self._reader is not None:
            self._reader.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone, and with it the reader."""
        if self._reader is not None:
            reader, self._reader = self._reader, None
            reader.connection_lost(error)
