"""Waits after wrong log-ins. Pure: times are the caller's.

Of a process: by pair of log-in name and origin, exponential; by origin, a number of failures an
hour, many enough for a hospital behind one address. A subscriber has 2^64 addresses of IPv6 and
more, so that an origin of these is a network of 64 bits. Memory is bounded; the
longest unseen are forgotten first. Of an account, for all processes and machines together:
`account_wait`, over a count in the database, which only failures of known accounts change
(docs/decisions/0079-waits-after-wrong-log-ins.md).
"""

import ipaddress
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

FREE_FAILURES: Final = 5
LONGEST: Final = timedelta(minutes=15)
ACCOUNT_FREE_FAILURES: Final = 10
ACCOUNT_LONGEST: Final = timedelta(hours=1)
ORIGIN_FAILURES: Final = 100  # an hour
_K = TypeVar("_K")
_HOUR: Final = timedelta(hours=1)
_MOST: Final = 10_000
_DOUBLINGS: Final = 20  # beyond, each wait is the longest


def wait_after(failures: int, free: int, longest: timedelta) -> timedelta:
    """Wait after failures in a row: none for the `free` ones, then 1, 2, 4 … seconds."""
    if failures < free:
        return timedelta()
    return min(timedelta(seconds=2 ** min(failures - free, _DOUBLINGS)), longest)


def account_wait(failures: int, failed_at: datetime | None, at: datetime) -> bool:
    """True if an account must wait, given its failures since the last complete log-in."""
    if failed_at is None:
        return False
    return _within(wait_after(failures, ACCOUNT_FREE_FAILURES, ACCOUNT_LONGEST), failed_at, at)


def origin_key(origin: str) -> str:
    """The origin that counts for a client's address: of IPv6 its network of 64 bits."""
    try:
        address = ipaddress.ip_address(origin)
    except ValueError:
        return origin
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


def _within(wait: timedelta, since: datetime, at: datetime) -> bool:
    # A clock that jumped back must not make the wait longer than twice its length.
    return -wait <= at - since < wait


@dataclass(slots=True)
class _Failures:
    count: float
    last: datetime


class Throttle:
    """Failures that this process has seen. Thread-safe.

    `origin_failures`: failures an hour from one origin, whatever the names; `math.inf`: any number.
    """

    def __init__(self, most: int = _MOST, origin_failures: float = ORIGIN_FAILURES) -> None:
        self._most = most
        self._origin_failures = origin_failures
        self._lock = threading.Lock()
        self._pairs: OrderedDict[tuple[str, str], _Failures] = OrderedDict()
        self._origins: OrderedDict[str, _Failures] = OrderedDict()

    def must_wait(self, login: str, origin: str, at: datetime) -> bool:
        """True if this log-in is to be refused without a look at its password."""
        origin = origin_key(origin)
        with self._lock:
            pair = self._pairs.get((login, origin))
            if pair is not None and _within(
                wait_after(int(pair.count), FREE_FAILURES, LONGEST), pair.last, at
            ):
                return True
            seen = self._origins.get(origin)
            return seen is not None and _left(seen, at) >= self._origin_failures

    def failed(self, login: str, origin: str, at: datetime) -> None:
        """Count a failure."""
        origin = origin_key(origin)
        with self._lock:
            pair = self._pairs.get((login, origin), _Failures(0, at))
            self._keep(self._pairs, (login, origin), _Failures(pair.count + 1, at))
            seen = self._origins.get(origin, _Failures(0, at))
            self._keep(self._origins, origin, _Failures(_left(seen, at) + 1, at))

    def succeeded(self, login: str, origin: str) -> None:
        """Forget the failures of the pair; those of the origin stay."""
        with self._lock:
            self._pairs.pop((login, origin_key(origin)), None)

    def size(self) -> int:
        """Number of pairs and origins that are remembered."""
        return len(self._pairs) + len(self._origins)

    def _keep(self, where: OrderedDict[_K, _Failures], key: _K, failures: _Failures) -> None:
        where[key] = failures
        where.move_to_end(key)
        while len(where) > self._most:
            where.popitem(last=False)


def _left(seen: _Failures, at: datetime) -> float:
    """Failures that still count: they fade by ORIGIN_FAILURES an hour.

    In both directions: failures of a clock that was ahead for a while must not count until then.
    """
    faded = abs(at - seen.last) / _HOUR * ORIGIN_FAILURES
    return max(seen.count - faded, 0.0)
