"""Early checks of the white list, requested by waiting mail.  No I/O except `stamp`.

Mail for an unlisted domain fails only after a check, later than its arrival, that confirms the
list as the newest.  The sender may have mistyped the domain, and should not wait an hour for the
DSN.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from whitelist.national.newest import MARGIN

EARLY_SECONDS: Final = 120.0  # least time between any check and an early check


@dataclass(slots=True)
class EarlyCheck:
    """Decides when an early check is due.  All times are monotonic, in seconds.

    `stamp()` changes whenever mail requests a check.  A check counts for that mail if it starts
    MARGIN or more after the request.  An early check comes EARLY_SECONDS or more after any check.
    """

    stamp: Callable[[], object]
    _seen: object = None
    _asked: float | None = None
    _last: float = float("-inf")

    def __post_init__(self) -> None:
        """Ignore earlier requests: the first regular check serves them."""
        self._seen = self.stamp()

    def is_due(self, now: float) -> bool:
        """Whether an early check is due."""
        stamp = self.stamp()
        if stamp != self._seen:
            self._seen = stamp
            self._asked = now if self._asked is None else self._asked
        if self._asked is None:
            return False
        return now >= max(self._asked + MARGIN.total_seconds() + 1, self._last + EARLY_SECONDS)

    def begun(self, now: float) -> None:
        """Note the start of a check."""
        self._last = now
        if self._asked is not None and now > self._asked + MARGIN.total_seconds():
            self._asked = None
