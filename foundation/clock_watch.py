"""Clock watch: finds jumps of this machine's clock; gives a steady clock for deadlines.

Two clocks are compared: the wall clock, which can be set forwards or back, and the running clock
(seconds since boot), which cannot. A setting of the wall clock changes their distance in one step;
slewing by NTP hardly changes it. No I/O: both clocks are parameters.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

JUMP: Final = timedelta(seconds=10)  # smallest step that is a jump; NTP slews smaller errors
DOUBT: Final = timedelta(
    days=1
)  # time after a jump in which nothing is deleted or expired by this clock
SLACK: Final = timedelta(minutes=5)  # allowed difference of clocks between machines of a store


def since_boot() -> float:
    """Seconds since boot; time asleep is included where the system counts it."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True)
class Jump:
    """A jump of the clock: `to` is the time after it, `by` the distance (negative: set back)."""

    to: datetime
    by: timedelta

    def __str__(self) -> str:
        """Format for people: distance, time before, time after."""
        way = "ahead" if self.by > timedelta(0) else "back"
        before, after = (f"{at:%Y-%m-%d %H:%M:%S} UTC" for at in (self.to - self.by, self.to))
        seconds = timedelta(seconds=round(abs(self.by).total_seconds()))
        return f"this machine's clock jumped {way} by {seconds}, from {before} to {after}"


@dataclass(frozen=True, slots=True)
class ClockMemory:
    """State of a clock watch: start, last comparison, jumps of the last day (`DOUBT`).

    `began` and `running` are seconds of the running clock. Each jump comes with the running clock's
    seconds at which it was seen.
    """

    began: float
    running: float
    wall: datetime
    jumps: tuple[tuple[float, Jump], ...] = ()


class ClockWatch:
    """Compares `wall` (aware datetimes) with `running` (seconds). Thread-safe.

    `memory` is the state of an earlier watch on the same `running` clock, which this watch
    continues.
    """

    def __init__(
        self,
        wall: Callable[[], datetime],
        running: Callable[[], float] = since_boot,
        memory: ClockMemory | None = None,
    ) -> None:
        self._wall = wall
        self._running = running
        self._lock = threading.Lock()
        if memory is None:
            began = running()
            memory = ClockMemory(began, began, wall())
        self._began = memory.began
        self._last = memory.running, memory.wall
        self._seen = list(memory.jumps)  # jumps within the last `DOUBT`
        self._untold: list[Jump] = []

    def check(self) -> datetime:
        """Compare the clocks now; return the wall clock's time."""
        with self._lock:
            running, wall, after = self._running(), self._wall(), self._running()
            # If this thread was suspended between the readings, their distance is worthless: skip
            # this round.
            if after - running < JUMP.total_seconds() / 2:
                before, self._last = self._last, (running, wall)
                by = wall - before[1] - timedelta(seconds=running - before[0])
                self._seen = [s for s in self._seen if running - s[0] < DOUBT.total_seconds()]
                if abs(by) >= JUMP:
                    self._seen.append((running, Jump(wall, by)))
                    self._untold.append(Jump(wall, by))
            return wall

    def new_jumps(self) -> list[Jump]:
        """Compare the clocks; return each jump that was not returned before."""
        self.check()
        with self._lock:
            found, self._untold = self._untold, []
        return found

    @property
    def jumps(self) -> tuple[Jump, ...]:
        """The jumps of the last day, oldest first."""
        return tuple(jump for _, jump in self._seen)

    @property
    def in_doubt(self) -> bool:
        """True if the clock jumped within the last day: nothing may be deleted by it."""
        self.check()
        return bool(self._seen)

    @property
    def proven(self) -> bool:
        """True if the clock was watched for a whole day without a jump."""
        return not self.in_doubt and self._running() - self._began >= DOUBT.total_seconds()

    @property
    def memory(self) -> ClockMemory:
        """State to continue this watch in another object."""
        with self._lock:
            return ClockMemory(self._began, *self._last, tuple(self._seen))

    def steady(self) -> datetime:
        """The time by which mail grows old: the wall clock less all forward jumps of the last day.

        A clock set ahead by mistake would expire all waiting mail at once. A clock set back is
        believed: mail is then tried for longer. Forward and backward jumps do not cancel out:
        either may be the mistake, and mail may have been written between them.
        """
        wall = self.check()
        with self._lock:
            jumps = (jump.by for _, jump in self._seen)
            return wall - sum((by for by in jumps if by > timedelta(0)), timedelta(0))
