"""Window of a destination: how many deliveries at once, and when it is taken for dead.  Pure.

After the scheduler of Postfix (SCHEDULER_README, "Concurrency scheduling"): the window starts at a
few, grows by one for each pseudo-cohort (as many deliveries as the window is wide) that went well,
shrinks likewise with those that failed, and after some failed pseudo-cohorts in a row, without one
success, the destination is dead.  It is then probed by one delivery at a time, after a wait that
doubles.  A delivery fails here if no host of the destination could be spoken to; a refusal of a
sender or a recipient is no failure of the destination.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from relay.queue.retry import RetryPolicy

_ROUNDING: Final = 1e-9  # ten tenths are a little less than one


@dataclass(frozen=True, slots=True)
class WindowPolicy:
    """Widths at the start and at most; failed cohorts until death; waits between probes."""

    first: int = 5
    most: int = 20
    cohorts: float = 1.0
    probing: RetryPolicy = field(default_factory=lambda: RetryPolicy(longest=timedelta(minutes=10)))


@dataclass(slots=True)
class DestinationWindow:
    """Window of one destination in this process; its death, with `failures`, is known to all.

    `failures` counts deaths and failed probes since the last success.
    """

    policy: WindowPolicy
    window: int = 0
    failures: int = 0
    dead_until: datetime | None = None
    # Cohorts that went well or badly since the window last changed, and badly since a success.
    _well: float = 0.0
    _badly: float = 0.0
    _failed_cohorts: float = 0.0

    def __post_init__(self) -> None:
        """Start with the first window."""
        self._restart()

    @property
    def dead(self) -> bool:
        """Whether it gets nothing but probes."""
        return self.dead_until is not None

    def allowance(self, now: datetime) -> int:
        """How many deliveries it may have under way in all: none, one as a probe, or its window."""
        if self.dead_until is None:
            return self.window
        return int(self.dead_until <= now)

    def succeeded(self) -> bool:
        """Note that it could be spoken to; True if it was dead until then."""
        self._failed_cohorts = 0.0
        if self.dead:
            self.adopt(0, None)
            return True
        self._well += 1 / self.window
        if self._well >= 1 - _ROUNDING:
            self._well = self._badly = 0.0
            self.window = min(self.window + 1, self.policy.most)
        return False

    def failed(self, now: datetime, jitter: float) -> bool:
        """Note that no host of it could be spoken to; True if it is dead, until another time.

        `jitter` in [0, 1) lengthens the wait for the next probe.
        """
        if not self.dead:
            self._failed_cohorts += 1 / self.window
            self._badly += 1 / self.window
            if self._badly >= 1 - _ROUNDING:
                self._well = self._badly = 0.0
                self.window = max(self.window - 1, 1)
            if self._failed_cohorts < self.policy.cohorts - _ROUNDING:
                return False
        self.failures += 1
        self.dead_until = now + self.policy.probing.wait(self.failures, jitter)
        return True

    def adopt(self, failures: int, dead_until: datetime | None) -> None:
        """Take over what another process, or an operator, wrote down of it."""
        if self.dead and dead_until is None:
            self._restart()
        self.failures, self.dead_until = failures, dead_until

    def _restart(self) -> None:
        self.window = min(self.policy.first, self.policy.most)
        self._well = self._badly = self._failed_cohorts = 0.0
