"""Whether the list in force is the newest that anybody knows of: only then it refuses for good.

Pure.  A domain that has just joined, or a peer with a new certificate, is unknown to the list of
yesterday; what that list refuses for good comes back to its sender though nothing is wrong with it.
So a refusal is final only by a list that is no older than the newest that a machine of this store
has adopted, and that a check has found to be the newest: lately, for somebody who asks now; since
it was queued, for mail that waits (docs/decisions/0059).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from whitelist.national.freshness import is_ahead

MARGIN: Final = timedelta(seconds=10)
"""By how much a check must come later than mail: machines that work together differ by less."""


class Dated(Protocol):
    """What is asked of a list: a `WhiteList` has it, and so has a `history.Version`."""

    @property
    def digest(self) -> str:
        """SHA-256 of its file in hexadecimal."""

    @property
    def generated_at(self) -> datetime:
        """Its `DateDeGeneration`, aware."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The last check by which this machine found the list `digest` at its source.

    `at` is when the check began: whatever the source took up later, it may not have seen.
    """

    digest: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Shared:
    """The newest list that a machine of this store has adopted, as last seen in the database.

    `checked_at` is when a machine last found it to be the newest.
    """

    digest: str
    generated_at: datetime
    checked_at: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the newest list: by this machine's own checks, and from the others."""

    own: Confirmed | None = None
    shared: Shared | None = None


def is_behind(in_force: Dated | None, shared: Shared | None) -> bool:
    """Whether another machine has a newer list than the one in force (None: none is)."""
    if shared is None or in_force is None:
        return shared is not None
    return shared.digest != in_force.digest and shared.generated_at > in_force.generated_at


def confirmed_at(in_force: Dated, known: Known, now: datetime) -> datetime | None:
    """The latest instant at which the list in force was certainly the newest; None: none is known.

    That is when its publisher made it, or the last check of it by whatever machine.  An instant to
    come is by a clock that was ahead, and says nothing.
    """
    found = [in_force.generated_at]
    if known.own is not None and known.own.digest == in_force.digest:
        found.append(known.own.at)
    if known.shared is not None and known.shared.digest == in_force.digest:
        found.append(known.shared.checked_at)
    return max((at for at in found if not is_ahead(at, now)), default=None)


def may_fail(in_force: Dated, known: Known, queued_at: datetime, now: datetime) -> bool:
    """Whether mail that was queued at `queued_at` may fail for good by the list in force."""
    at = confirmed_at(in_force, known, now)
    return at is not None and at > queued_at + MARGIN and not is_behind(in_force, known.shared)
