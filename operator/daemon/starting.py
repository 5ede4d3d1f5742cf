"""The start of a process: what cannot be had yet is waited for, and nothing of it ends the daemon.

A process that finds the database or the store of bodies away, or a key file missing, tells the
supervisor why it waits, and tries again by itself (docs/decisions/0056).
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from foundation.backoff import backoff
from foundation.detached_threads import aside
from mailstore.errors import MailstoreError
from whitelist.errors import ArchiveError, TrustFileError

from ..assembly.outside_errors import is_outside
from ..errors import Away, OperatorError
from .control_channel import Report

FIRST_SECONDS: Final = 1.0  # until the second attempt, then twice as long each time
LONGEST_SECONDS: Final = 10.0
PATIENCE: Final = 5.0  # seconds after which an attempt is told of that has brought nothing yet

_T = TypeVar("_T")
_SILENT: Final = Report(f"the store has not answered for {PATIENCE:g} s")
_EXPECTED: Final = (ArchiveError, MailstoreError, OperatorError, OSError, TrustFileError)


@dataclass(slots=True)
class Start:
    """The start of one process; `say` tells the supervisor, `stop` ends the waiting."""

    say: Callable[[Report], None]
    stop: asyncio.Event
    _said: Report | None = None

    def ready(self) -> None:
        """Tell that the process is at its work."""
        self._tell(Report())

    async def insist(
        self, make: Callable[[], _T], waits: Callable[[str], None] = lambda _: None
    ) -> _T | None:
        """The result of `make`, tried aside until it succeeds; None if told to stop.

        `waits` is told why it cannot, whenever that is something else.
        """
        failures = 0
        while not self.stop.is_set():
            making = aside(make, "start")
            try:
                if not await self._first(making, PATIENCE):
                    self._wait(_SILENT, waits)
                    await self._first(making, None)
                if not making.done():
                    break  # told to stop
                return making.result()
            except _EXPECTED as error:
                self._wait(report_of(error), waits)
            failures += 1
            await self._pause(failures)
        return None

    async def persist(self, begin: Callable[[], Awaitable[_T | None]]) -> _T | None:
        """The result of `begin`, tried until it succeeds; None if told to stop."""
        failures = 0
        while not self.stop.is_set():
            try:
                return await begin()
            except _EXPECTED as error:
                self._wait(report_of(error), lambda _: None)
            failures += 1
            await self._pause(failures)
        return None

    async def _pause(self, failures: int) -> None:
        with suppress(TimeoutError):
            pause = backoff(failures, FIRST_SECONDS, LONGEST_SECONDS)
            await asyncio.wait_for(self.stop.wait(), pause)

    async def _first(self, making: asyncio.Future[_T], seconds: float | None) -> bool:
        """Wait until it is made or the process is to stop; False if neither is within the time."""
        stopped = asyncio.ensure_future(self.stop.wait())
        both: set[asyncio.Future[object]] = {making, stopped}  # type: ignore[arg-type]  # invariant
        done, _ = await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        return bool(done)

    def _wait(self, report: Report, waits: Callable[[str], None]) -> None:
        if report != self._said:
            waits(report.problem)
            self._tell(report)

    def _tell(self, report: Report) -> None:
        self._said = report
        self.say(report)


def report_of(error: Exception) -> Report:
    """The report to the supervisor of an error at the start."""
    own = not (isinstance(error, Away) or is_outside(error))
    return Report(str(error) or type(error).__name__, own)
