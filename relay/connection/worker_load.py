"""How many sessions each worker of a node has, known to all of them, so that few stay together.

Messages that are there at once share a commit, if one process has them (docs/decisions/0025).  A
few connections spread over several processes make many small groups, and wait for each other's
syncs: so while one worker has few sessions, another that has none leaves a new connection to it for
a moment, and only from then on they share.  Nothing but time depends on these numbers, which a
process that was killed leaves as they are.
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

SEATS: Final = 256  # workers that know of each other; more go without
FEW: Final = 8  # sessions from which on a worker shares with others
_OCTETS: Final = 4  # of one number


def gives_way(numbers: Sequence[int], mine: int) -> bool:
    """Whether the worker on seat `mine` leaves a new connection to another for a moment.

    A number is 0 on a free seat, else one more than its worker has sessions.  One that has none
    leaves it to one that has few or, where nobody has any, to the first; one that has many to one
    that has less than half as many.
    """
    own = numbers[mine] - 1
    others = [number - 1 for seat, number in enumerate(numbers) if number and seat != mine]
    if own >= FEW:
        return any(sessions < own / 2 for sessions in others)
    if own:
        return False
    return any(0 < one < FEW for one in others) or (not any(others) and any(numbers[:mine]))


def lay_out(path: Path) -> None:
    """Make a file of free seats, or none where the disk refuses it; nobody may have one."""
    # Written, not left out: a page without room on the disk would end who writes to it.
    try:
        path.write_bytes(bytes(SEATS * _OCTETS))
    except OSError as error:  # a worker without a seat only shares less well
        _log.warning("seat.none", path=str(path), detail=str(error))
        with suppress(OSError):
            path.unlink()


def anybody(path: Path) -> bool:
    """Whether a worker is on a seat now; for a process that has none itself.

    Where that cannot be told, nobody is.
    """
    try:
        with path.open("r+b") as file:
            numbers = memoryview(file.read(SEATS * _OCTETS)).cast("I")
            return any(
                number and _is_held(file.fileno(), seat) for seat, number in enumerate(numbers)
            )
    except (OSError, TypeError):  # TypeError: the file is shorter
        return False


def _is_held(file: int, seat: int) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, seat)
    except (BlockingIOError, PermissionError):
        return True
    return False  # and given back with the descriptor


class Seat:
    """One worker's place among those that share a file: it writes its number and reads theirs."""

    def __init__(self, numbers: memoryview, mine: int) -> None:
        self._numbers = numbers
        self._mine = mine
        self._sessions = 0
        self._coming = 0
        self._left = False
        self._write()

    @classmethod
    def alone(cls) -> "Seat":
        """Where nobody else is known of."""
        return cls(memoryview(bytearray(_OCTETS)).cast("I"), 0)

    @classmethod
    def take(cls, path: Path) -> "Seat":
        """The first free one in a file that `lay_out` has made; alone where that cannot be.

        It is free again when this process has ended.
        """
        try:
            return cls._take(path)
        except (OSError, ValueError) as error:  # ValueError: the file is shorter
            _log.warning("seat.none", path=str(path), detail=str(error))
            return cls.alone()

    @classmethod
    def _take(cls, path: Path) -> "Seat":
        # Never closed: with its descriptor would go the lock that holds the seat.
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            numbers = memoryview(mmap.mmap(file, SEATS * _OCTETS)).cast("I")
        except (OSError, ValueError):
            os.close(file)
            raise
        for mine in range(SEATS):
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, mine)
            except (BlockingIOError, PermissionError):
                continue
            return cls(numbers, mine)
        raise BlockingIOError(f"all of {SEATS} seats are taken")

    def have(self, sessions: int) -> None:
        """Tell how many sessions there are."""
        self._sessions = sessions
        self._write()

    def coming(self, more: int) -> None:
        """Tell of connections that are accepted and not yet sessions, or are so no longer."""
        self._coming += more
        self._write()

    def gives_way(self) -> bool:
        """Whether to leave a connection that has come to another worker for a moment."""
        return gives_way(self._numbers, self._mine)

    def leave(self) -> None:
        """Take no more part: nobody is to wait for this worker to accept."""
        self._left = True
        self._write()

    def _write(self) -> None:
        self._numbers[self._mine] = 0 if self._left else 1 + self._sessions + self._coming
