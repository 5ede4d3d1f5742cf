"""Retry policy: time of the next attempt, of the delay report, of expiry.  Pure.

Randomness is a parameter.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Backoff, life of a message in the queue (RFC 5321 §4.5.4.1), time of the delay report.

    The wait doubles from `first` to `longest`.  The `unknown_` values are for unknown outcomes
    (message sent to its end without a usable reply): each attempt may deliver a duplicate, so the
    wait grows fourfold, and after `unknown_max_tries` attempts the recipient fails.
    """

    first: timedelta = timedelta(minutes=1)
    longest: timedelta = timedelta(hours=1)
    life: timedelta = timedelta(days=5)
    delay_warning: timedelta = timedelta(hours=4)
    unknown_first: timedelta = timedelta(minutes=15)
    unknown_longest: timedelta = timedelta(hours=4)
    unknown_max_tries: int = 4

    def wait(self, attempts: int, jitter: float) -> timedelta:
        """Return the wait from the lease for attempt `attempts` (from 1) to the next attempt.

        `jitter` in [0, 1) adds up to 20 %.
        """
        # Doublings needed to pass the longest wait; bounds the shift.
        enough = (self.longest // self.first).bit_length()
        doubled = self.first * (1 << min(attempts - 1, enough))
        return min(doubled, self.longest) * (1 + jitter / 5)

    @property
    def max_wait(self) -> timedelta:
        """Upper bound of `wait`."""
        return self.longest * 1.2

    @property
    def max_unknown_wait(self) -> timedelta:
        """Upper bound of `unknown_wait`."""
        return self.unknown_longest * 1.2

    def unknown_wait(self, tries: int, jitter: float) -> timedelta:
        """Return the wait after `tries` unknown outcomes (from 1); `jitter` as for `wait`."""
        grown = self.unknown_first * (1 << 2 * min(tries - 1, 16))
        return min(grown, self.unknown_longest) * (1 + jitter / 5)

    def is_over(self, queued_at: datetime, now: datetime) -> bool:
        """Whether a waiting message has expired."""
        return now >= queued_at + self.life

    def is_late(self, queued_at: datetime, now: datetime) -> bool:
        """Whether a waiting message is late, but not expired: its sender gets a delay report."""
        return now >= queued_at + self.delay_warning and not self.is_over(queued_at, now)
