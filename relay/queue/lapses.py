"""When leases that have lapsed may be taken: not at once after the database was away.

Nobody can renew a lease meanwhile, though attempts go on and peers answer.  Whoever is first when
it is back would make attempts again whose outcomes another courier is about to write.  So each
gives the others time to write theirs; what is not leased is taken at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from foundation.clock_watch import since_boot

# A courier is back at the database after a poll and 45 seconds at most (docs/decisions/0055).
GRACE_SECONDS: Final = 120.0


@dataclass(slots=True)
class Lapses:
    """Grace period for lapsed leases, from the start: the database may have been away."""

    running: Callable[[], float] = since_boot
    _until: float = field(init=False)

    def __post_init__(self) -> None:
        """Begin."""
        self.away()

    def away(self) -> None:
        """Note that the database is away at this moment."""
        self._until = self.running() + GRACE_SECONDS

    @property
    def count(self) -> bool:
        """Whether a lease that has lapsed counts as none."""
        return self.running() >= self._until
