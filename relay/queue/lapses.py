"""Lapsed leases: a grace period after an outage of the database, before others may take them.

During an outage no lease can be renewed, but attempts go on and peers answer.  Without the grace
period the first courier back would repeat attempts whose results another courier is about to write.
Deliveries without a lease are taken at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from foundation.clock_watch import since_boot

# A courier is back after a poll and 45 seconds at most (docs/decisions/0055).
GRACE_SECONDS: Final = 120.0


@dataclass(slots=True)
class Lapses:
    """Grace period for lapsed leases; also at the start, since an outage may just have ended."""

    running: Callable[[], float] = since_boot
    _until: float = field(init=False)

    def __post_init__(self) -> None:
        """Start the grace period."""
        self.note_outage()

    def note_outage(self) -> None:
        """Note an outage of the database at this moment: the grace period starts again."""
        self._until = self.running() + GRACE_SECONDS

    @property
    def may_be_taken(self) -> bool:
        """True if lapsed leases may be taken by others now."""
        return self.running() >= self._until
