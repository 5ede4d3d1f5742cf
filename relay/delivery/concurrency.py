"""Concurrency limits: how many deliveries each destination may have, by how it takes them.  Pure.

Windows are of this process alone: several machines may give a destination as many deliveries each.
Death is known to all, by the table `destinations`; `changes` are to be written there.
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from relay.delivery.in_flight import InFlight
from relay.delivery.window import DestinationWindow, WindowPolicy
from relay.queue.model import ALL, DestinationRow, DestinationTable, Traffic

_ALIVE: Final = DestinationRow()
QUICK: Final = 0.25  # seconds: a destination with attempts as short as that gets a look-ahead


@dataclass(slots=True)
class ConcurrencyLimits:
    """Windows by destination domain; a destination without one starts with the first window."""

    policy: WindowPolicy
    randomness: random.Random
    in_flight: InFlight
    changes: dict[str, DestinationRow] = field(default_factory=dict)
    _windows: dict[str, DestinationWindow] = field(default_factory=dict)
    _quick: set[str] = field(default_factory=set)
    _paused: frozenset[str] = frozenset()
    _all_paused: bool = False

    def adopt(self, known: DestinationTable) -> frozenset[str]:
        """Take over the rows of the database, but for changes still to be written there.

        Returns the destinations that may be tried again and might not before, ALL among them.
        """
        were_dead = {domain for domain, one in self._windows.items() if one.dead}
        before = self._deferred(were_dead)
        self._all_paused = known.all_paused
        self._paused = frozenset(d for d, row in known.by_domain.items() if row.paused)
        dead = {d: row for d, row in known.by_domain.items() if row.dead_until is not None}
        for domain in dead.keys() | were_dead:
            if domain not in self.changes:
                row = dead.get(domain, _ALIVE)
                self._window_of(domain).adopt(row.failures, row.dead_until)
        return before - self._deferred(filter(self.is_dead, before | dead.keys()))

    def is_dead(self, domain: str) -> bool:
        """Whether a delivery to it is a probe."""
        return domain in self._windows and self._windows[domain].dead

    def barred(self, domain: str, now: datetime) -> bool:
        """Whether nothing may begin, however little is in flight."""
        if self._all_paused or domain in self._paused:
            return True
        return domain in self._windows and not self._windows[domain].allowance(now)

    def window(self, domain: str, traffic: Traffic, now: datetime) -> int:
        """How many deliveries of a class may speak to it; bulk leaves one slot to interactive."""
        if self.barred(domain, now):
            return 0
        one = self._windows.get(domain)
        allowance = min(self.policy.first, self.policy.most) if one is None else one.allowance(now)
        return allowance - (traffic is Traffic.BULK and allowance > 1)

    def free_slots(
        self, domain: str, traffic: Traffic, now: datetime, *, ahead: bool = False
    ) -> int:
        """How many more deliveries of a class may be leased.

        With `ahead` as many again, to follow at once, if it is done with a delivery in moments.
        """
        window = self.window(domain, traffic, now)
        if ahead and domain in self._quick and not self.is_dead(domain):
            window *= 2
        return max(window - self.in_flight.to(domain), 0)

    def took(self, domain: str, seconds: float) -> None:
        """Note how long an attempt took."""
        if seconds <= QUICK:
            self._quick.add(domain)
        else:
            self._quick.discard(domain)

    def succeeded(self, domain: str) -> None:
        """Note that a destination could be spoken to."""
        if self._window_of(domain).succeeded():
            self.changes[domain] = DestinationRow()

    def failed(self, domain: str, error: str, now: datetime) -> bool:
        """Note that no host of it could be spoken to; True if it is dead."""
        one = self._window_of(domain)
        dead = one.failed(now, self.randomness.random())
        if dead:
            self.changes[domain] = DestinationRow(
                failures=one.failures, dead_until=one.dead_until, last_error=error
            )
        return dead

    def written(self, changes: Mapping[str, DestinationRow]) -> None:
        """Note that these changes are in the database now."""
        for domain, row in changes.items():
            if self.changes.get(domain) is row:
                del self.changes[domain]

    def _deferred(self, dead: Iterable[str]) -> frozenset[str]:
        return self._paused.union(dead, [ALL] if self._all_paused else ())

    def _window_of(self, domain: str) -> DestinationWindow:
        if domain not in self._windows:
            self._windows[domain] = DestinationWindow(self.policy)
        return self._windows[domain]
