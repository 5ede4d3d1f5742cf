"""Notices that the clock of this machine jumped, and how far; keeps a steady clock for deadlines.

Two clocks run side by side: the one of the day, which anybody can set forwards or back, and the one
since the machine started, which runs on whatever happens.  Their distance changes in a step when
the first is set, and hardly at all while NTP slews it.  No I/O: both clocks are passed in.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

JUMP: Final = timedelta(seconds=10)  # a step from which on it is one; NTP corrects less by itself
DOUBT: Final = timedelta(
    days=1
)  # for which a clock that jumped is not trusted to delete or give up
SLACK: Final = timedelta(minutes=5)  # by which the clocks of machines that share a store may differ


def since_boot() -> float:
    """Seconds since the machine started, time asleep included where the system counts it."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True)
class Jump:
    """A step of the clock: `to` is what it said after it, `by` how far, negative if set back."""

    to: datetime
    by: timedelta

    def __str__(self) -> str:
        """Say it for people: from when to when, and the distance."""
        way = "ahead" if self.by > timedelta(0) else "back"
        before, after = (f"{at:%Y-%m-%d %H:%M:%S} UTC" for at in (self.to - self.by, self.to))
        seconds = timedelta(seconds=round(abs(self.by).total_seconds()))
        return f"this machine's clock jumped {way} by {seconds}, from {before} to {after}"


@dataclass(frozen=True, slots=True)
class Memory:
    """What the watch over a clock knows: since when, the last comparison, the jumps of a day.

    Seconds are those of the running clock; of each jump, when it was seen.
    """

    began: float
    running: float
    wall: datetime
    jumps: tuple[tuple[float, Jump], ...] = ()


class ClockWatch:
    """Compares `wall`, aware, with `running`, in seconds; may be used by several threads.

    With the `memory` of a watch on the same `running` clock it goes on where that one was.
    """

    def __init__(
        self,
        wall: Callable[[], datetime],
        running: Callable[[], float] = since_boot,
        memory: Memory | None = None,
    ) -> None:
        self._wall = wall
        self._running = running
        self._lock = threading.Lock()
        if memory is None:
            began = running()
            memory = Memory(began, began, wall())
        self._began = memory.began
        self._last = memory.running, memory.wall
        self._seen = list(memory.jumps)  # of the last `DOUBT`
        self._untold: list[Jump] = []

    def look(self) -> datetime:
        """Compare the clocks now; the time of the day."""
        with self._lock:
            running, wall, after = self._running(), self._wall(), self._running()
            # Where this thread was kept waiting in between, the distance says nothing: next time.
            if after - running < JUMP.total_seconds() / 2:
                before, self._last = self._last, (running, wall)
                by = wall - before[1] - timedelta(seconds=running - before[0])
                self._seen = [s for s in self._seen if running - s[0] < DOUBT.total_seconds()]
                if abs(by) >= JUMP:
                    self._seen.append((running, Jump(wall, by)))
                    self._untold.append(Jump(wall, by))
            return wall

    def news(self) -> list[Jump]:
        """Look, and give each jump that was not given before."""
        self.look()
        with self._lock:
            found, self._untold = self._untold, []
        return found

    @property
    def jumps(self) -> tuple[Jump, ...]:
        """The jumps of the last day, the oldest first."""
        return tuple(jump for _, jump in self._seen)

    @property
    def in_doubt(self) -> bool:
        """Whether the clock jumped within the last day: nothing is to be deleted by it."""
        self.look()
        return bool(self._seen)

    @property
    def proven(self) -> bool:
        """Whether the clock was watched for a day, and did not jump in it."""
        return not self.in_doubt and self._running() - self._began >= DOUBT.total_seconds()

    @property
    def memory(self) -> Memory:
        """What another watch needs to go on where this one is."""
        with self._lock:
            return Memory(self._began, *self._last, tuple(self._seen))

    def steady(self) -> datetime:
        """The time by which mail grows old: without what the clock jumped ahead of late.

        A clock set ahead by mistake would make all that waits too old at once.  One set back is
        believed: mail is then tried for longer.  The two do not cancel out: which of them was the
        mistake, nobody knows, and mail may have been written in between.
        """
        wall = self.look()
        with self._lock:
            jumps = (jump.by for _, jump in self._seen)
            return wall - sum((by for by in jumps if by > timedelta(0)), timedelta(0))
