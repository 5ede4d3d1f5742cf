"""Checks of the white list before their time, for which mail waits.  No I/O but that of `stamp`.

Mail for a domain that is not on the list fails once a check has found the list to be the newest
since it was queued: its sender, who may have mistyped it, should not wait an hour to hear of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from whitelist.national.newest import MARGIN

EARLY_SECONDS: Final = 120.0  # at least from a check to one before its time


@dataclass(slots=True)
class EarlyCheck:
    """When the list is checked before its time since mail waits for it; times are monotonic.

    `stamp()` changes whenever mail asks.  A check that begins MARGIN later decides about that mail;
    between two of them there are EARLY_SECONDS at least.
    """

    stamp: Callable[[], object]
    _seen: object = None
    _asked: float | None = None
    _last: float = float("-inf")

    def __post_init__(self) -> None:
        """What was asked before is decided by the first check."""
        self._seen = self.stamp()

    def is_due(self, now: float) -> bool:
        """Whether to check now."""
        stamp = self.stamp()
        if stamp != self._seen:
            self._seen = stamp
            self._asked = now if self._asked is None else self._asked
        if self._asked is None:
            return False
        return now >= max(self._asked + MARGIN.total_seconds() + 1, self._last + EARLY_SECONDS)

    def begun(self, now: float) -> None:
        """Note that a check begins now."""
        self._last = now
        if self._asked is not None and now > self._asked + MARGIN.total_seconds():
            self._asked = None
