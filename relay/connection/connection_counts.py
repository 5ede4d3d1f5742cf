"""Counts of open connections in this process: in all, by address, and by certificate name.

A peer over its share is turned away with `421`.  Open sessions are never ended for a newcomer, with
one exception: where all places are taken, a stranger's session ends, so that connections without a
listed certificate never keep out listed peers.  The first to go is the oldest session that has
shown in TLS that it is no peer; then the oldest that is still without TLS after a moment.
IPv6 addresses count by /64, the smallest network that a host is given.
"""

import ipaddress
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Final, Protocol, TypeVar

from relay.connection.limits import SessionLimits
from relay.smtp.reply import Reply
from whitelist.pki.distinguished_name import DistinguishedName

_Key = TypeVar("_Key")

# A newcomer keeps its place for so long: in a crowd it must get as far as its certificate.
# From the certificate to the verdict it keeps its place in any case.
ARRIVAL_SECONDS: Final = 1.0
_MAX_LEAVING: Final = 100  # strangers that are given time to read the reason

_GIVEN_UP: Final = Reply(
    421, "4.3.2", "Too many connections, yours has shown no listed certificate"
)


class OpenSession(Protocol):
    """The parts of a session that counts and listener use to end it."""

    @property
    def idle(self) -> bool:
        """Whether it can be ended without loss of mail."""

    def hang_up(self, reply: Reply, *, at_once: bool = False) -> None:
        """Say why and close the connection; `at_once`: without waiting for the peer to read it."""

    def drop(self) -> None:
        """End the connection now, even if the peer has not read all replies."""


@lru_cache(maxsize=4096)  # called three times for each connection
def network(address: str) -> str:
    """The network that an address counts as: itself, or the /64 of an IPv6 address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


@dataclass(slots=True)
class _StrangerQueue:
    """Sessions without a listed certificate, with their networks, oldest first.

    `coming` has sessions before their certificate, each with the time of its arrival.
    """

    shown: dict[OpenSession, str] = field(default_factory=dict)
    coming: dict[OpenSession, tuple[str, float]] = field(default_factory=dict)

    def forget(self, session: OpenSession) -> None:
        self.shown.pop(session, None)
        self.coming.pop(session, None)

    def take_first(self, where: str | None, came_by: float) -> tuple[OpenSession, str] | None:
        """Remove and return the session to give up; in a network, if given."""
        shown = ((session, found) for session, found in self.shown.items())
        coming = ((session, found) for session, (found, at) in self.coming.items() if at <= came_by)
        for session, found in chain(shown, coming):
            if where is None or where == found:
                self.forget(session)
                return session, found
        return None


class ConnectionCounts:
    """The open sessions and their counts; `changed` is called with each new number of sessions.

    `clock` is monotonic, in seconds.
    """

    def __init__(
        self,
        limits: SessionLimits,
        changed: Callable[[int], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._changed = changed
        self._clock = clock
        self.sessions: set[OpenSession] = set()
        self._addresses: Counter[str] = Counter()
        self._peers: Counter[DistinguishedName] = Counter()
        self._strangers = _StrangerQueue()
        self._leaving: set[OpenSession] = set()  # given up and closing

    def make_room(self, address: str) -> str:
        """Make room for a connection from an address, if need be by ending a stranger's session.

        Returns the limit that is reached: `all`, `address`, or empty if there is room.
        """
        limits, where = self._limits, network(address)
        full = self._addresses[where] >= limits.max_connections_per_address
        if full and not self._give_up(where):
            return "address"
        full = len(self.sessions) - len(self._leaving) >= limits.max_connections
        return "all" if full and not self._give_up(None) else ""

    def _give_up(self, where: str | None) -> bool:
        found = self._strangers.take_first(where, self._clock() - ARRIVAL_SECONDS)
        if found is None:
            return False
        stranger, counted = found
        _less(self._addresses, counted)
        self._leaving.add(stranger)
        stranger.hang_up(_GIVEN_UP, at_once=len(self._leaving) > _MAX_LEAVING)
        return True

    def add(self, session: OpenSession, address: str) -> None:
        """Count a new session; it is a stranger's until `mark_known`."""
        self.sessions.add(session)
        self._changed(len(self.sessions))
        where = network(address)
        self._addresses[where] += 1
        self._strangers.coming[session] = where, self._clock()

    def mark_undecided(self, session: OpenSession) -> None:
        """Keep the place of a session that showed a certificate; the verdict may take seconds."""
        self._strangers.forget(session)

    def mark_known(self, session: OpenSession) -> None:
        """Mark a session as a peer's: its certificate is admitted."""
        self._strangers.forget(session)

    def mark_stranger(self, session: OpenSession, address: str) -> None:
        """Mark a session as a stranger's: no certificate, or not admitted (any more)."""
        self._strangers.forget(session)
        if session not in self._leaving:
            self._strangers.shown[session] = network(address)

    def count_peer(self, name: DistinguishedName) -> bool:
        """Count a session under its name until `remove`; False if the name has too many."""
        self._peers[name] += 1
        return self._peers[name] <= self._limits.max_connections_per_peer

    def remove(self, session: OpenSession, address: str, name: DistinguishedName | None) -> None:
        """Remove an ended session from the counts."""
        self.sessions.discard(session)
        self._strangers.forget(session)
        self._changed(len(self.sessions))
        if session in self._leaving:
            self._leaving.discard(session)
        else:
            _less(self._addresses, network(address))
        if name is not None:
            _less(self._peers, name)


def _less(counts: Counter[_Key], key: _Key) -> None:
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]
