"""What this process has under way to destinations, and how each takes it.  Pure.

Windows are of this process alone: several machines may give a destination as many deliveries each.
Death is common knowledge, in the table `destinations`; `changes` are what must be written there.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from relay.delivery.window import Destination, WindowPolicy
from relay.queue.model import ALL, Claim, DestinationRow, DestinationTable, Traffic

_NOT_KNOWN: Final = DestinationRow()
QUICK: Final = 0.25  # seconds for an attempt, until which a destination has others taken on ahead


@dataclass(slots=True)
class Congestion:
    """Destinations by domain; a domain of which nothing is remembered is a new one."""

    policy: WindowPolicy
    randomness: random.Random
    changes: dict[str, DestinationRow] = field(default_factory=dict)
    bulk: int = 0
    _destinations: dict[str, Destination] = field(default_factory=dict)
    _under_way: Counter[str] = field(default_factory=Counter)
    _quick: set[str] = field(default_factory=set)
    _paused: frozenset[str] = frozenset()
    _all_paused: bool = False

    def adopt(self, known: DestinationTable) -> frozenset[str]:
        """Take over what the database says, but for what is still to be written there.

        Returns the destinations that may be tried again, ALL among them, and might not before.
        """
        were_dead = {domain for domain, one in self._destinations.items() if one.dead}
        before = self._put_off(were_dead)
        self._all_paused = known.all_paused
        self._paused = frozenset(d for d, row in known.by_domain.items() if row.paused)
        dead = {d: row for d, row in known.by_domain.items() if row.dead_until is not None}
        for domain in dead.keys() | were_dead:
            if domain not in self.changes:
                row = dead.get(domain, _NOT_KNOWN)
                self._of(domain).adopt(row.failures, row.dead_until)
        return before - self._put_off(filter(self.is_dead, before | dead.keys()))

    def is_dead(self, domain: str) -> bool:
        """Whether a delivery to it is a probe."""
        return domain in self._destinations and self._destinations[domain].dead

    def barred(self, domain: str, now: datetime) -> bool:
        """Whether nothing may begin, however little is under way."""
        if self._all_paused or domain in self._paused:
            return True
        return domain in self._destinations and not self._destinations[domain].allowance(now)

    def width(self, domain: str, traffic: Traffic, now: datetime) -> int:
        """How many deliveries of a class may speak to it; programs leave people one place."""
        if self.barred(domain, now):
            return 0
        one = self._destinations.get(domain)
        allowance = min(self.policy.first, self.policy.most) if one is None else one.allowance(now)
        return allowance - (traffic is Traffic.BULK and allowance > 1)

    def places(self, domain: str, traffic: Traffic, now: datetime, *, ahead: bool = False) -> int:
        """How many more deliveries of a class may be taken on.

        With `ahead` as many again, to follow at once, where it is done with one in moments.
        """
        width = self.width(domain, traffic, now)
        if ahead and domain in self._quick and not self.is_dead(domain):
            width *= 2
        return max(width - self._under_way[domain], 0)

    def took(self, domain: str, seconds: float) -> None:
        """Note how long an attempt took."""
        if seconds <= QUICK:
            self._quick.add(domain)
        else:
            self._quick.discard(domain)

    def begun(self, claim: Claim) -> None:
        """Count a delivery that is under way now."""
        self._under_way[claim.domain] += 1
        self.bulk += claim.traffic is Traffic.BULK

    def ended(self, claim: Claim) -> None:
        """Count it no longer."""
        self._under_way[claim.domain] -= 1
        if not self._under_way[claim.domain]:
            del self._under_way[claim.domain]
        self.bulk -= claim.traffic is Traffic.BULK

    def succeeded(self, domain: str) -> None:
        """Note that a destination could be spoken to."""
        if self._of(domain).succeeded():
            self.changes[domain] = DestinationRow()

    def failed(self, domain: str, error: str, now: datetime) -> bool:
        """Note that no host of it could be spoken to; True if it is dead."""
        one = self._of(domain)
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

    def _put_off(self, dead: Iterable[str]) -> frozenset[str]:
        return self._paused.union(dead, [ALL] if self._all_paused else ())

    def _of(self, domain: str) -> Destination:
        if domain not in self._destinations:
            self._destinations[domain] = Destination(self.policy)
        return self._destinations[domain]
