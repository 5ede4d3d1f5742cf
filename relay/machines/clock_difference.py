"""The difference between this machine's clock and the database's, which all machines use.

The database reads its clock at some moment before its answer: half of the time until the answer is
the doubt.  A comparison whose doubt leaves both results open changes nothing.  SQLite has no clock
of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from foundation.clock_watch import since_boot
from mailstore.db.database import Database
from mailstore.db.dialect import server_clock


@dataclass(frozen=True, slots=True)
class ClockDifference:
    """`by`: this machine's clock ahead of `theirs`, negative if behind, plus or minus `doubt`."""

    theirs: datetime
    by: timedelta
    doubt: timedelta

    @property
    def way(self) -> str:
        """`ahead of` or `behind`."""
        return "ahead of" if self.by > timedelta(0) else "behind"


@dataclass(slots=True)
class ClockComparison:
    """Compares again and again; `max_difference` is the difference that is tolerated.

    `apart` is None until a comparison has decided.  May be used by several threads.
    """

    database: Database
    max_difference: timedelta
    clock: Callable[[], datetime]
    running: Callable[[], float] = since_boot
    last: ClockDifference | None = field(default=None, init=False)
    apart: bool | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """SQLite has this machine's clock: never apart."""
        if self.database.url.get_backend_name() == "sqlite":
            self.apart = False

    def compare(self) -> bool:
        """Compare now; True if the clocks are known to be apart.

        Blocks.  Raises StoreUnavailable, with nothing changed.
        """
        if self.database.url.get_backend_name() != "sqlite":
            with self.database.read() as connection:
                began, wall = self.running(), self.clock()
                theirs = server_clock(connection)
                took = timedelta(seconds=self.running() - began)
            if theirs is not None:
                self._learn(ClockDifference(theirs, wall + took / 2 - theirs, took / 2))
        return bool(self.apart)

    def _learn(self, found: ClockDifference) -> None:
        self.last = found
        if abs(found.by) - found.doubt > self.max_difference:
            self.apart = True
        elif abs(found.by) + found.doubt <= self.max_difference or (
            self.apart is None and found.doubt <= self.max_difference
        ):
            self.apart = False

    @property
    def problem(self) -> str:
        """A text that says so while the clocks are apart, always the same; else empty."""
        if not self.apart or self.last is None:
            return ""
        return (
            f"this machine's clock is {self.last.way} the database's clock by more than "
            f"{self.max_difference.total_seconds():g} seconds "
            "(storage.max_clock_difference_seconds): this machine accepts mail, but does not send, "
            "give up or delete any; check NTP on both machines"
        )
