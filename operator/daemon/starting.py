"""Start of a process that waits for outside services; the daemon keeps running meanwhile.

If the database or the store of bodies is unreachable, or a key file is missing, the process
reports to the supervisor why it waits, and retries by itself (docs/decisions/0056).
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from foundation.backoff import backoff
from foundation.detached_threads import run_detached
from mailstore.errors import MailstoreError
from whitelist.errors import ArchiveError, TrustFileError

from ..assembly.outside_errors import is_outside
from ..errors import OperatorError, Outage
from .control_channel import ProcessReport

FIRST_SECONDS: Final = 1.0  # backoff: pause before the second attempt, then doubled
LONGEST_SECONDS: Final = 10.0  # limit of the backoff
START_TIMEOUT: Final = 5.0  # seconds after which an attempt in progress is reported as waiting

_T = TypeVar("_T")
_SILENT: Final = ProcessReport(f"no answer from the store for {START_TIMEOUT:g} s")
_EXPECTED: Final = (ArchiveError, MailstoreError, OperatorError, OSError, TrustFileError)


@dataclass(slots=True)
class Start:
    """Start of one process.  `say`: sends a report to the supervisor; `stop`: ends the wait."""

    say: Callable[[ProcessReport], None]
    stop: asyncio.Event
    _said: ProcessReport | None = None

    def ready(self) -> None:
        """Report that the process works."""
        self._tell(ProcessReport())

    async def retry_in_thread(
        self, make: Callable[[], _T], waits: Callable[[str], None] = lambda _: None
    ) -> _T | None:
        """Call `make` in threads of its own until it succeeds.  None after `stop`.

        `waits`: called with the reason of a failure, at each change.  An unexpected exception is
        raised.
        """
        failures = 0
        while not self.stop.is_set():
            making = run_detached(make, "start")
            try:
                if not await self._first(making, START_TIMEOUT):
                    self._wait(_SILENT, waits)
                    await self._first(making, None)
                if not making.done():
                    break  # `stop` is set
                return making.result()
            except _EXPECTED as error:
                self._wait(report_of(error), waits)
            failures += 1
            await self._pause(failures)
        return None

    async def retry(self, begin: Callable[[], Awaitable[_T | None]]) -> _T | None:
        """Await `begin` until it succeeds.  None after `stop`."""
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
        """Wait for the result or for `stop`; False after a timeout of `seconds`."""
        stopped = asyncio.ensure_future(self.stop.wait())
        both: set[asyncio.Future[object]] = {making, stopped}  # type: ignore[arg-type]  # invariant
        done, _ = await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        return bool(done)

    def _wait(self, report: ProcessReport, waits: Callable[[str], None]) -> None:
        if report != self._said:
            waits(report.problem)
            self._tell(report)

    def _tell(self, report: ProcessReport) -> None:
        self._said = report
        self.say(report)


def report_of(error: Exception) -> ProcessReport:
    """Report to the supervisor about an error at the start."""
    own = not (isinstance(error, Outage) or is_outside(error))
    return ProcessReport(str(error) or type(error).__name__, own)
