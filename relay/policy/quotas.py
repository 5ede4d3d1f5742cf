"""Quotas of a peer per hour: messages, recipients, receipts asked for.

A peer may be an operator of one's own site that runs wild: a loop, a mailing to thousands
(DOMAIN U7, 12).  The configuration sets limits by the CN of the certificate; none by default.
Counts are those of one process, like all limits of the listener (docs/decisions/0010), and cover
the last sixty minutes, in steps of one minute.  Pure: monotonic seconds are passed in.

Only accepted messages count.  Connections that send at the same moment may all pass, so a peer may
exceed a limit by as many messages as it has connections.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from whitelist.pki.distinguished_name import DistinguishedName
from whitelist.pki.name_folding import fold

_STEP: Final = 60.0  # seconds
_STEPS: Final = 60


class Quota(NamedTuple):
    """Counts within an hour; None for no limit.  Also used for the counts still left."""

    messages: int | None = None
    recipients: int | None = None
    receipts: int | None = None


NO_LIMIT: Final = Quota()


@dataclass(slots=True)
class _Hour:
    """Counts for each minute of the last hour: minute, messages, recipients, receipts."""

    minutes: deque[list[int]] = field(default_factory=deque)

    def add(self, minute: int, *counts: int) -> None:
        if not self.minutes or self.minutes[-1][0] != minute:
            self.minutes.append([minute, 0, 0, 0])
        for place, count in enumerate(counts, 1):
            self.minutes[-1][place] += count

    def sums(self, minute: int) -> tuple[int, int, int]:
        while self.minutes and self.minutes[0][0] <= minute - _STEPS:
            self.minutes.popleft()
        _, messages, recipients, receipts = map(sum, zip([0] * 4, *self.minutes, strict=True))
        return messages, recipients, receipts


class Quotas:
    """The limits of peers, and the counts used.

    `by_name` has limits of single peers by CN, which replace `general`.
    """

    def __init__(
        self, general: Quota = NO_LIMIT, by_name: Mapping[str, Quota] | None = None
    ) -> None:
        self._general = general
        self._by_name = {fold(cn): quota for cn, quota in (by_name or {}).items()}
        self._used: dict[DistinguishedName, _Hour] = {}  # listed peers only

    def of(self, name: DistinguishedName) -> Quota:
        """The limits of a peer."""
        if not self._by_name:
            return self._general
        return self._by_name.get(fold(name.common_name or ""), self._general)

    def remaining(self, name: DistinguishedName, now: float) -> Quota:
        """The counts that a peer has left now; never below 0."""
        quota = self.of(name)
        if quota == NO_LIMIT:
            return NO_LIMIT
        used = self._used[name].sums(int(now // _STEP)) if name in self._used else (0, 0, 0)
        return Quota(
            *(None if q is None else max(q - u, 0) for q, u in zip(quota, used, strict=True))
        )

    def record(
        self, name: DistinguishedName, now: float, *, recipients: int, receipt: bool
    ) -> None:
        """Count an accepted message of a peer."""
        if self.of(name) != NO_LIMIT:
            hour = self._used.setdefault(name, _Hour())
            hour.add(int(now // _STEP), 1, recipients, int(receipt))
