"""Concurrency limits: how many deliveries each destination may have at once.  Pure.

Windows belong to this process: each of several machines may use a whole window.  Death is shared by
all machines, in table `destinations`; `changes` are still to be written there.
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
QUICK: Final = 0.25  # seconds: a destination with attempts this short gets a look-ahead


@dataclass(slots=True)
class ConcurrencyLimits:
    """Windows by destination; without failures or successes a destination has the first window."""

    policy: WindowPolicy
    randomness: random.Random
    in_flight: InFlight
    changes: dict[str, DestinationRow] = field(default_factory=dict)
    _windows: dict[str, DestinationWindow] = field(default_factory=dict)
    _quick: set[str] = field(default_factory=set)
    _paused: frozenset[str] = frozenset()
    _all_paused: bool = False

    def adopt(self, known: DestinationTable) -> frozenset[str]:
        """Adopt the rows of the database, except for destinations with unwritten changes.

        Returns the destinations no longer dead or paused (ALL among them): mail for them may go
        again.
        """
        were_dead = {domain for domain, one in self._windows.items() if one.dead}
        before = self._paused_or_dead(were_dead)
        self._all_paused = known.all_paused
        self._paused = frozenset(d for d, row in known.by_domain.items() if row.paused)
        dead = {d: row for d, row in known.by_domain.items() if row.dead_until is not None}
        for domain in dead.keys() | were_dead:
            if domain not in self.changes:
                row = dead.get(domain, _ALIVE)
                self._window_of(domain).adopt(row.failures, row.dead_until)
        return before - self._paused_or_dead(filter(self.is_dead, before | dead.keys()))

    def is_dead(self, domain: str) -> bool:
        """Whether the destination is dead, so that a delivery to it is a probe."""
        return domain in self._windows and self._windows[domain].dead

    def barred(self, domain: str, now: datetime) -> bool:
        """Whether no attempt may begin, even if none is in flight."""
        if self._all_paused or domain in self._paused:
            return True
        return domain in self._windows and not self._windows[domain].allowance(now)

    def window(self, domain: str, traffic: Traffic, now: datetime) -> int:
        """Return the slots for a class; bulk leaves a slot to interactive mail."""
        if self.barred(domain, now):
            return 0
        one = self._windows.get(domain)
        allowance = (
            min(self.policy.first, self.policy.largest) if one is None else one.allowance(now)
        )
        return allowance - (traffic is Traffic.BULK and allowance > 1)

    def free_slots(
        self, domain: str, traffic: Traffic, now: datetime, *, ahead: bool = False
    ) -> int:
        """Return how many more deliveries of a class may be leased.

        `ahead`: for a quick destination add a second window, as look-ahead.
        """
        window = self.window(domain, traffic, now)
        if ahead and domain in self._quick and not self.is_dead(domain):
            window *= 2
        return max(window - self.in_flight.to(domain), 0)

    def note_duration(self, domain: str, seconds: float) -> None:
        """Note how long an attempt took."""
        if seconds <= QUICK:
            self._quick.add(domain)
        else:
            self._quick.discard(domain)

    def note_reachable(self, domain: str) -> None:
        """Note that the destination was reachable."""
        if self._window_of(domain).note_reachable():
            self.changes[domain] = DestinationRow()

    def note_unreachable(self, domain: str, error: str, now: datetime) -> bool:
        """Note that no host of the destination was reachable; True if it is dead."""
        one = self._window_of(domain)
        dead = one.note_unreachable(now, self.randomness.random())
        if dead:
            self.changes[domain] = DestinationRow(
                failures=one.failures, dead_until=one.dead_until, last_error=error
            )
        return dead

    def note_written(self, changes: Mapping[str, DestinationRow]) -> None:
        """Note that these changes are in the database."""
        for domain, row in changes.items():
            if self.changes.get(domain) is row:
                del self.changes[domain]

    def _paused_or_dead(self, dead: Iterable[str]) -> frozenset[str]:
        return self._paused.union(dead, [ALL] if self._all_paused else ())

    def _window_of(self, domain: str) -> DestinationWindow:
        if domain not in self._windows:
            self._windows[domain] = DestinationWindow(self.policy)
        return self._windows[domain]
