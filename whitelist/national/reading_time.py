"""CPU limit for reading a list.

Single sizes are bounded in `whitelist.national.signed_file` and `whitelist.national.document`; this
limit bounds their sum. CPU time of the thread, not wall-clock time: a busy or suspended machine is
no fault of the list.
"""

import time
from collections.abc import Callable
from typing import Final

from whitelist.errors import ListReason, ListRefused

MAX_CPU_SECONDS: Final = 60.0
"""The real list of 2025 takes 1 s."""


class CpuLimit:
    """A CPU budget of `seconds` by `clock`, from now on; checked between the steps of the work."""

    def __init__(
        self, seconds: float = MAX_CPU_SECONDS, clock: Callable[[], float] = time.thread_time
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._ends = clock() + seconds

    def check(self) -> None:
        """Return within the budget; raise ListRefused(too-slow) beyond it."""
        if self._clock() > self._ends:
            raise ListRefused(
                ListReason.TOO_SLOW,
                f"reading it takes more than {self._seconds:g} s of CPU; is it the white list?",
            )
