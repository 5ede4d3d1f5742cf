"""Window of a destination: how many deliveries at once, and when it is dead.  Pure.

After the scheduler of Postfix (SCHEDULER_README, "Concurrency scheduling").  The window starts
small.  It grows by one after each successful pseudo-cohort (as many deliveries as the window), and
shrinks by one after each failed pseudo-cohort.  After some failed pseudo-cohorts in a row, without
a success, the destination is dead: it gets one delivery at a time, as a probe, after a wait that
doubles.
Failure here: no host of the destination was reachable.  A refused sender or recipient is no failure
of the destination.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from relay.queue.retry import RetryPolicy

_ROUNDING: Final = 1e-9  # ten times 0.1 is slightly less than 1


@dataclass(frozen=True, slots=True)
class WindowPolicy:
    """First and largest window; failed cohorts until death; waits between probes."""

    first: int = 5
    largest: int = 20
    cohorts: float = 1.0
    probing: RetryPolicy = field(default_factory=lambda: RetryPolicy(longest=timedelta(minutes=10)))


@dataclass(slots=True)
class DestinationWindow:
    """Window of one destination in this process; its death and `failures` are shared by all.

    `failures`: deaths and failed probes since the last success.
    """

    policy: WindowPolicy
    window: int = 0
    failures: int = 0
    dead_until: datetime | None = None
    # Fractions of cohorts: successful and failed since the window changed; failed since a success.
    _reached_cohorts: float = 0.0
    _unreached_cohorts: float = 0.0
    _failed_cohorts: float = 0.0

    def __post_init__(self) -> None:
        """Start with the first window."""
        self._restart()

    @property
    def dead(self) -> bool:
        """Whether the destination is dead: it gets only probes."""
        return self.dead_until is not None

    def allowance(self, now: datetime) -> int:
        """Return how many deliveries may be in flight.

        Alive: the window.  Dead: 1 if a probe is due, else 0.
        """
        if self.dead_until is None:
            return self.window
        return int(self.dead_until <= now)

    def note_reachable(self) -> bool:
        """Note that the destination was reachable; True if it was dead before."""
        self._failed_cohorts = 0.0
        if self.dead:
            self.adopt(0, None)
            return True
        self._reached_cohorts += 1 / self.window
        if self._reached_cohorts >= 1 - _ROUNDING:
            self._reached_cohorts = self._unreached_cohorts = 0.0
            self.window = min(self.window + 1, self.policy.largest)
        return False

    def note_unreachable(self, now: datetime, jitter: float) -> bool:
        """Note that no host was reachable; True if the destination is dead (now or still).

        `jitter` in [0, 1) lengthens the wait for the next probe.
        """
        if not self.dead:
            self._failed_cohorts += 1 / self.window
            self._unreached_cohorts += 1 / self.window
            if self._unreached_cohorts >= 1 - _ROUNDING:
                self._reached_cohorts = self._unreached_cohorts = 0.0
                self.window = max(self.window - 1, 1)
            if self._failed_cohorts < self.policy.cohorts - _ROUNDING:
                return False
        self.failures += 1
        self.dead_until = now + self.policy.probing.wait(self.failures, jitter)
        return True

    def adopt(self, failures: int, dead_until: datetime | None) -> None:
        """Adopt the health written by another process or an operator."""
        if self.dead and dead_until is None:
            self._restart()
        self.failures, self.dead_until = failures, dead_until

    def _restart(self) -> None:
        self.window = min(self.policy.first, self.policy.largest)
        self._reached_cohorts = self._unreached_cohorts = self._failed_cohorts = 0.0
