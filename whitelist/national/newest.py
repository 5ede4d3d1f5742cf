"""Rule for refusals for good: the list in force must be the newest known list.

Pure. A domain that has just joined, or a peer with a new certificate, is unknown to yesterday's
list: a refusal for good by that list would bounce good mail. So a refusal is final only if no
machine of this store has adopted a newer list, and if a check has confirmed the list in force as
the newest: lately, for a session; after the mail was queued, for waiting mail
(docs/decisions/0059).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from whitelist.national.freshness import is_ahead

MARGIN: Final = timedelta(seconds=10)
"""Minimum time from mail to check; clocks of cooperating machines differ by less."""


class DatedList(Protocol):
    """Facts of a list that the rule needs: a `WhiteList` or an archive `ArchiveRecord` has them."""

    @property
    def digest(self) -> str:
        """SHA-256 of the file in hexadecimal."""

    @property
    def generated_at(self) -> datetime:
        """The list's `DateDeGeneration`, aware."""


@dataclass(frozen=True, slots=True)
class ConfirmedList:
    """Last check by which this machine found the list `digest` at its source.

    `at` is the start of the check, which may have missed any later change of the source.
    """

    digest: str
    at: datetime


@dataclass(frozen=True, slots=True)
class SharedList:
    """Newest list adopted by a machine of this store, as last seen in the database.

    `checked_at` is the last time a machine confirmed it as the newest.
    """

    digest: str
    generated_at: datetime
    checked_at: datetime


@dataclass(frozen=True, slots=True)
class KnownLists:
    """Knowledge about the newest list: from this machine's own checks, and from the others."""

    own: ConfirmedList | None = None
    shared: SharedList | None = None


def is_behind(in_force: DatedList | None, shared: SharedList | None) -> bool:
    """True if another machine has a newer list than the list in force (None: no list)."""
    if shared is None or in_force is None:
        return shared is not None
    return shared.digest != in_force.digest and shared.generated_at > in_force.generated_at


def confirmed_at(in_force: DatedList, known: KnownLists, now: datetime) -> datetime | None:
    """Return the latest instant at which the list in force was certainly the newest; None: unknown.

    Candidates are the publisher's date of the list and the last check of it by any machine. An
    instant in the future comes from a clock that was ahead, and is ignored.
    """
    found = [in_force.generated_at]
    if known.own is not None and known.own.digest == in_force.digest:
        found.append(known.own.at)
    if known.shared is not None and known.shared.digest == in_force.digest:
        found.append(known.shared.checked_at)
    return max((at for at in found if not is_ahead(at, now)), default=None)


def may_fail(in_force: DatedList, known: KnownLists, queued_at: datetime, now: datetime) -> bool:
    """True if mail queued at `queued_at` may fail for good by the list in force."""
    at = confirmed_at(in_force, known, now)
    return at is not None and at > queued_at + MARGIN and not is_behind(in_force, known.shared)
