"""Silence of a process: for how long it has left a question of the supervisor unanswered.

Pure.  The time is counted in ticks of the supervisor.  A tick that comes late says that the
supervisor itself was away: it was stopped, its machine was suspended, or the host is overloaded.
Nobody can tell then whether the process was silent, so the count starts again at zero.
"""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

TICKS: Final = 10  # within the time for which a process may be silent
LATE: Final = 2.0  # intervals between two ticks, beyond which the supervisor itself was away


class Verdict(Enum):
    """What the supervisor does at a tick."""

    ASK = auto()  # the question before is answered, or there was none
    WAIT = auto()
    SILENT = auto()  # for too long


@dataclass(slots=True)
class Silence:
    """Of one process; `limit` and `seconds` (since the question that is unanswered) in seconds."""

    limit: float
    seconds: float = field(default=0.0, init=False)
    _asked: bool = field(default=False, init=False)
    _ticked: float = field(default=0.0, init=False)

    @property
    def interval(self) -> float:
        """Seconds from one tick to the next."""
        return self.limit / TICKS

    def tick(self, now: float) -> Verdict:
        """Count the time since the last tick; `now` is monotonic, in seconds."""
        passed, self._ticked = now - self._ticked, now
        if not self._asked:
            self._asked, self.seconds = True, 0.0
            return Verdict.ASK
        self.seconds = 0.0 if passed > LATE * self.interval else self.seconds + passed
        return Verdict.SILENT if self.seconds >= self.limit else Verdict.WAIT

    def answered(self) -> None:
        """Note that the process answered; it is asked again at the next tick."""
        self._asked = False

    def start_over(self) -> None:
        """Count from zero again, though nothing was answered."""
        self.seconds = 0.0
