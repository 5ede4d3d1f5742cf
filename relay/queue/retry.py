"""When to try again, to say that mail is late, and to give up.  Pure; randomness is passed in."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Waits, how long a message may be queued (RFC 5321 §4.5.4.1), and when its sender is warned.

    Waits double from the first to the longest.  The `unknown_` ones are for a message that was sent
    to its end without a usable answer, and may arrive once more by each try: waits grow fourfold,
    and after `unknown_most` tries it is given up.
    """

    first: timedelta = timedelta(minutes=1)
    longest: timedelta = timedelta(hours=1)
    life: timedelta = timedelta(days=5)
    delay_warning: timedelta = timedelta(hours=4)
    unknown_first: timedelta = timedelta(minutes=15)
    unknown_longest: timedelta = timedelta(hours=4)
    unknown_most: int = 4

    def wait(self, attempts: int, jitter: float) -> timedelta:
        """Time to wait after attempt `attempts` (from 1); `jitter` in [0, 1) adds up to 20 %."""
        # As many doublings as it takes to pass the longest wait, whatever the number of attempts.
        enough = (self.longest // self.first).bit_length()
        doubled = self.first * (1 << min(attempts - 1, enough))
        return min(doubled, self.longest) * (1 + jitter / 5)

    @property
    def most(self) -> timedelta:
        """The longest that `wait` gives."""
        return self.longest * 1.2

    @property
    def unknown_most_wait(self) -> timedelta:
        """The longest that `unknown_wait` gives."""
        return self.unknown_longest * 1.2

    def unknown_wait(self, tries: int, jitter: float) -> timedelta:
        """The same after the try `tries` (from 1) whose outcome is not known."""
        grown = self.unknown_first * (1 << 2 * min(tries - 1, 16))
        return min(grown, self.unknown_longest) * (1 + jitter / 5)

    def is_over(self, queued_at: datetime, now: datetime) -> bool:
        """Whether a message that still waits is given up."""
        return now >= queued_at + self.life

    def is_late(self, queued_at: datetime, now: datetime) -> bool:
        """Whether the sender of a message that still waits, and goes on waiting, is to know."""
        return now >= queued_at + self.delay_warning and not self.is_over(queued_at, now)
