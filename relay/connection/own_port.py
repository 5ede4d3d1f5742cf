"""The source port of the daemon's connections to itself, by which workers know them.

The maintenance process asks each of our own addresses for its banner (`/readyz`).  Such a session
is like any other, but not a peer's: it is not in the journal and takes no peer's place.  No outside
connection can pass for it, since its source address is the address that it connects to.
"""

import mmap
import os
from pathlib import Path
from typing import Any, Final

import structlog

_log = structlog.get_logger(__name__)

_OCTETS: Final = 4


def create_port_file(path: Path) -> None:
    """Make the file, with port 0.  Raises OSError."""
    # Octets are written, not left as a hole: without disk space a later write would kill a process.
    path.write_bytes(bytes(_OCTETS))


class OwnPort:
    """The port number that the processes of a machine share; 0 for none."""

    def __init__(self, number: memoryview) -> None:
        self._number = number

    @classmethod
    def unknown(cls) -> "OwnPort":
        """A number that is shared with no other process."""
        return cls(memoryview(bytearray(_OCTETS)).cast("I"))

    @classmethod
    def share(cls, path: Path) -> "OwnPort":
        """The number in a file of `create_port_file`; not shared if the file cannot be used."""
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
        """Publish the port, bound by us, of the next connection to ourselves."""
        self._number[0] = port

    def is_from_us(self, transport: Any) -> bool:
        """Whether an accepted connection comes from the published port."""
        source = transport.get_extra_info("peername")
        if not source or source[1] != self._number[0]:
            return False
        return bool(source[0] == transport.get_extra_info("sockname")[0])
