"""The port from which the daemon connects to itself, so that workers know these connections.

The maintenance process asks each of our own addresses for its banner (`/readyz`).  Such a session
is like any other, but no peer's: it is not in the journal, and takes no peer's place.  Nothing from
outside can pass for it, since its source is the very address that it connects to.
"""

import mmap
import os
from pathlib import Path
from typing import Any, Final

import structlog

_log = structlog.get_logger(__name__)

_OCTETS: Final = 4


def lay_out(path: Path) -> None:
    """Make the file, with no port in it.  Raises OSError."""
    # Written, not left out: a page without room on the disk would end the process that writes it.
    path.write_bytes(bytes(_OCTETS))


class OwnPort:
    """The number that the processes of a node share; 0 for none."""

    def __init__(self, number: memoryview) -> None:
        self._number = number

    @classmethod
    def unknown(cls) -> "OwnPort":
        """Shared with no process."""
        return cls(memoryview(bytearray(_OCTETS)).cast("I"))

    @classmethod
    def share(cls, path: Path) -> "OwnPort":
        """The number in a file that `lay_out` has made; unknown to others where that cannot be."""
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                return cls(memoryview(mmap.mmap(file, _OCTETS)).cast("I"))
            finally:
                os.close(file)
        except (OSError, ValueError) as error:  # ValueError: the file is shorter
            _log.warning("own_port.none", path=str(path), detail=str(error))
            return cls.unknown()

    def announce(self, port: int) -> None:
        """The next connection to ourselves comes from this port, which we have bound."""
        self._number[0] = port

    def is_from_us(self, transport: Any) -> bool:
        """Whether a connection that was accepted is the one announced."""
        source = transport.get_extra_info("peername")
        if not source or source[1] != self._number[0]:
            return False
        return bool(source[0] == transport.get_extra_info("sockname")[0])
