"""Regular check that the scanners answer, before a message needs them."""

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from relay.scan.scanner import Scanners

_log = structlog.get_logger(__name__)

EVERY_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 10.0  # timeout of each scanner


class ScannerWatch:
    """Result of the last check.  `problems`: scanner's name to reason, if it did not answer."""

    def __init__(self, scanners: Scanners) -> None:
        self._scanners = scanners
        self.problems: Mapping[str, str] = {}

    @property
    def defers(self) -> bool:
        """Whether messages are deferred while a scanner does not answer."""
        return self._scanners.defers

    async def run(self, every: float = EVERY_SECONDS, answer: float = ANSWER_SECONDS) -> None:
        """Check every `every` seconds until cancelled; `answer`: timeout in seconds."""
        while self._scanners.on:
            try:
                self.problems = await self._scanners.probe(answer)
            except Exception:
                # Any error: the next check must run, or a failing scanner goes unnoticed.
                _log.exception("maintenance.error")
            await asyncio.sleep(every)
