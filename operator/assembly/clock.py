"""Time and randomness enter here: everything below takes them as arguments."""

import secrets
import threading
from datetime import UTC, datetime

from foundation.ids import RANDOM_OCTETS, new_id


class _Randomness:
    """Random octets, read from the system in blocks to save system calls.  Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool = b""

    def take(self, octets: int) -> bytes:
        """Return so many random octets, none of them twice."""
        with self._lock:
            if len(self._pool) < octets:
                self._pool = secrets.token_bytes(4096)
            taken, self._pool = self._pool[:octets], self._pool[octets:]
        return taken


_randomness = _Randomness()


def utc_now() -> datetime:
    """Current time, aware, in UTC."""
    return datetime.now(UTC)


def make_id() -> str:
    """New identifier of a message or session."""
    return new_id(utc_now(), _randomness.take(RANDOM_OCTETS))
