"""The number of sessions of each worker of a machine, shared so that few connections stay together.

Messages that arrive at once share a commit if one process has them (docs/decisions/0025).  A few
connections spread over several processes make many small groups that wait for each other's syncs.
So an idle worker leaves a new connection for a moment to a worker with few sessions; only when that
has more do they share.  Only time depends on these numbers; a killed process leaves them as they
were.
"""

import fcntl
import mmap
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

_log = structlog.get_logger(__name__)

SLOTS: Final = 256  # slots; further workers run without
FEW: Final = 8  # sessions from which on a worker shares with others
_OCTETS: Final = 4  # of one number


def should_defer_accept(numbers: Sequence[int], mine: int) -> bool:
    """Whether the worker in slot `mine` leaves a new connection to another for a moment.

    A number is 0 in a free slot, else 1 plus the sessions of its worker.  A worker without sessions
    defers to a worker with 1 to 7; if all are empty, to the lowest slot.  A worker with 8 or more
    defers to any with less than half its load.
    """
    own = numbers[mine] - 1
    others = [number - 1 for slot, number in enumerate(numbers) if number and slot != mine]
    if own >= FEW:
        return any(sessions < own / 2 for sessions in others)
    if own:
        return False
    return any(0 < one < FEW for one in others) or (not any(others) and any(numbers[:mine]))


def create_load_file(path: Path) -> None:
    """Make a file of free slots; no file if the disk refuses it.  No worker may have a slot yet."""
    # Octets are written, not left as a hole: without disk space a later write would kill a process.
    try:
        path.write_bytes(bytes(SLOTS * _OCTETS))
    except OSError as error:  # without slots workers share less well, no more
        _log.warning("seat.none", path=str(path), detail=str(error))
        with suppress(OSError):
            path.unlink()


def is_any_held(path: Path) -> bool:
    """Whether any worker has a slot now; for a process without a slot of its own.

    False if that cannot be told.
    """
    try:
        with path.open("r+b") as file:
            numbers = memoryview(file.read(SLOTS * _OCTETS)).cast("I")
            return any(
                number and _is_held(file.fileno(), load) for load, number in enumerate(numbers)
            )
    except (OSError, TypeError):  # TypeError: the file is shorter
        return False


def _is_held(file: int, slot: int) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
    except (BlockingIOError, PermissionError):
        return True
    return False  # the lock is released with the descriptor


class WorkerLoad:
    """A worker's slot in the shared file: it writes its own number and reads the others."""

    def __init__(self, numbers: memoryview, mine: int) -> None:
        self._numbers = numbers
        self._mine = mine
        self._sessions = 0
        self._coming = 0
        self._left = False
        self._write()

    @classmethod
    def unshared(cls) -> "WorkerLoad":
        """A slot that no other worker knows."""
        return cls(memoryview(bytearray(_OCTETS)).cast("I"), 0)

    @classmethod
    def take(cls, path: Path) -> "WorkerLoad":
        """The first free slot of a file of `create_load_file`; `unshared` if it cannot be used.

        The slot is free again when this process ends.
        """
        try:
            return cls._take(path)
        except (OSError, ValueError) as error:  # ValueError: the file is shorter
            _log.warning("seat.none", path=str(path), detail=str(error))
            return cls.unshared()

    @classmethod
    def _take(cls, path: Path) -> "WorkerLoad":
        # Never closed: closing the descriptor would release the lock on the slot.
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            numbers = memoryview(mmap.mmap(file, SLOTS * _OCTETS)).cast("I")
        except (OSError, ValueError):
            os.close(file)
            raise
        for mine in range(SLOTS):
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, mine)
            except (BlockingIOError, PermissionError):
                continue
            return cls(numbers, mine)
        raise BlockingIOError(f"all of {SLOTS} seats are taken")

    def set_sessions(self, sessions: int) -> None:
        """Publish the number of sessions."""
        self._sessions = sessions
        self._write()

    def add_coming(self, more: int) -> None:
        """Add connections that are accepted but not yet sessions, or remove them."""
        self._coming += more
        self._write()

    def should_defer_accept(self) -> bool:
        """Whether to leave a new connection to another worker for a moment."""
        return should_defer_accept(self._numbers, self._mine)

    def clear(self) -> None:
        """Give up the slot: no other worker waits for this one to accept."""
        self._left = True
        self._write()

    def _write(self) -> None:
        self._numbers[self._mine] = 0 if self._left else 1 + self._sessions + self._coming
