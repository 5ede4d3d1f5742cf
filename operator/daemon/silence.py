"""Silence of a process: time since a question of the supervisor that has no answer.

Pure.  The time is counted in ticks of the supervisor.  A late tick means that the supervisor
itself did not run: stopped, machine suspended, or overloaded.  The silence of the process is then
unknown, so the count starts again at zero.
"""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

TICKS: Final = 10  # ticks within the time that a process may be silent
LATE: Final = 2.0  # a tick is late after this many intervals


class SilenceVerdict(Enum):
    """Action of the supervisor at a tick."""

    ASK = auto()  # no question is open
    WAIT = auto()  # a question is open, within the limit
    SILENT = auto()  # a question is open, beyond the limit


@dataclass(slots=True)
class Silence:
    """Silence of one process.

    `limit`: seconds that the process may be silent.  `seconds`: silence so far, 0 if it answered.
    """

    limit: float
    seconds: float = field(default=0.0, init=False)
    _asked: bool = field(default=False, init=False)
    _ticked: float = field(default=0.0, init=False)

    @property
    def interval(self) -> float:
        """Seconds from one tick to the next."""
        return self.limit / TICKS

    def tick(self, now: float) -> SilenceVerdict:
        """Count the time since the last tick; `now` is monotonic, in seconds."""
        passed, self._ticked = now - self._ticked, now
        if not self._asked:
            self._asked, self.seconds = True, 0.0
            return SilenceVerdict.ASK
        self.seconds = 0.0 if passed > LATE * self.interval else self.seconds + passed
        return SilenceVerdict.SILENT if self.seconds >= self.limit else SilenceVerdict.WAIT

    def answered(self) -> None:
        """Note an answer; the next tick asks again."""
        self._asked = False

    def start_over(self) -> None:
        """Set the count to zero without an answer."""
        self.seconds = 0.0
