"""Reading through TLS into one shared buffer, without further copies.

asyncio gives a Protocol one `bytes` object for each record or more, and uvloop makes a buffer of
256 kB for each record before it knows its size.  A BufferedProtocol names the buffer itself: one
for all connections of a process, since no other code runs between reading a piece and taking it.
"""

import asyncio
from typing import Final, Protocol

# As large as the most that TLS has ready at once.  A memoryview: asyncio reads the second record
# into a slice of the buffer, and a slice of a bytearray would be a copy.
_BUFFER: Final = memoryview(bytearray(256 * 1024))


class TlsReader(Protocol):
    """The receiver of the octets and of the connection's other events."""

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


class TlsReadBuffer(asyncio.BufferedProtocol):
    """The protocol in front of a reader, from STARTTLS on."""

    def __init__(self, reader: TlsReader) -> None:
        self._reader: TlsReader | None = reader

    def get_buffer(self, _size_hint: int) -> memoryview:
        """The buffer for the next octets."""
        return _BUFFER

    def buffer_updated(self, octets: int) -> None:
        """Pass the octets in the buffer to the reader."""
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
        """The connection is gone; the reader is released."""
        if self._reader is not None:
            reader, self._reader = self._reader, None
            reader.connection_lost(error)
