"""Who holds connections of this process: in all, by address, and by certificate name.

A peer over its share is turned away with `421`; sessions that were let in are never touched.
Addresses of IPv6 count by /64, the least that one host is given.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol, TypeVar

from relay.errors import Reply
from relay.limits import Limits
from whitelist.names import DistinguishedName

_Key = TypeVar("_Key")


class OpenSession(Protocol):
    """What the listener needs of a session in order to stop."""

    @property
    def idle(self) -> bool:
        """Whether it can be ended without loss."""

    def hang_up(self, reply: Reply) -> None:
        """Say why and close the connection."""


@lru_cache(maxsize=4096)  # asked three times for each connection
def network(address: str) -> str:
    """What an address counts as: itself, or the /64 of an IPv6 address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


class Occupancy:
    """The open sessions and their counts; `changed` is told each new number of sessions."""

    def __init__(self, limits: Limits, changed: Callable[[int], None] = lambda _: None) -> None:
        self._limits = limits
        self._changed = changed
        self.sessions: set[OpenSession] = set()
        self._addresses: Counter[str] = Counter()
        self._peers: Counter[DistinguishedName] = Counter()

    def over(self, address: str) -> str:
        """Why a connection from an address cannot be taken: `all`, `address`, or empty."""
        if len(self.sessions) >= self._limits.max_connections:
            return "all"
        if self._addresses[network(address)] >= self._limits.max_connections_per_address:
            return "address"
        return ""

    def enter(self, session: OpenSession, address: str) -> None:
        """A session has begun."""
        self.sessions.add(session)
        self._changed(len(self.sessions))
        self._addresses[network(address)] += 1

    def identify(self, name: DistinguishedName) -> bool:
        """A session has shown its name, to be given back by `leave`; False if it has too many."""
        self._peers[name] += 1
        return self._peers[name] <= self._limits.max_connections_per_peer

    def leave(self, session: OpenSession, address: str, name: DistinguishedName | None) -> None:
        """A session is over."""
        self.sessions.discard(session)
        self._changed(len(self.sessions))
        _less(self._addresses, network(address))
        if name is not None:
            _less(self._peers, name)


def _less(counts: Counter[_Key], key: _Key) -> None:
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]
