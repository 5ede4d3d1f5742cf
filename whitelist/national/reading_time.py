"""How long the reading of one list may take, whatever is in it.

Sizes are bounded one by one (`whitelist.national.signed_file`, `whitelist.national.document`); this
bounds their sum.  CPU time of the thread, not time by the clock: a busy machine or a suspended one
is no fault of a list.
"""

import time
from collections.abc import Callable
from typing import Final

from whitelist.errors import ListRefused, Reason

MAX_CPU_SECONDS: Final = 60.0
"""The real list of 2025 takes one."""


class Patience:
    """Runs out after `seconds` by `clock`, from now on; asked between the steps of the work."""

    def __init__(
        self, seconds: float = MAX_CPU_SECONDS, clock: Callable[[], float] = time.thread_time
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._ends = clock() + seconds

    def check(self) -> None:
        """Return while there is time left; raise ListRefused(too-slow) after it."""
        if self._clock() > self._ends:
            raise ListRefused(
                Reason.TOO_SLOW,
                f"reading it takes more than {self._seconds:g} s of CPU; is it the white list?",
            )
