"""When to try again: exponential back-off with jitter.  Pure; randomness is passed in."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """First wait, longest wait, and how long a message may be queued (RFC 5321 §4.5.4.1)."""

    first: timedelta = timedelta(minutes=1)
    longest: timedelta = timedelta(hours=1)
    life: timedelta = timedelta(days=5)

    def wait(self, attempts: int, jitter: float) -> timedelta:
        """Time to wait after attempt `attempts` (from 1); `jitter` in [0, 1) adds up to 20 %."""
        # As many doublings as it takes to pass the longest wait, whatever the number of attempts.
        enough = (self.longest // self.first).bit_length()
        doubled = self.first * (1 << min(attempts - 1, enough))
        return min(doubled, self.longest) * (1 + jitter / 5)
