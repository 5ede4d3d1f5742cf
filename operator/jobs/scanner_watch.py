"""Regular check that the scanners answer, before a message needs them."""

import asyncio
from collections.abc import Mapping
from typing import Final

from relay.scan.scanner import Scanners

from .rounds import JobRounds

JOB: Final = "scanner-watch"
EVERY_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 10.0  # timeout of each scanner


class ScannerWatch:
    """Result of the last check.  `problems`: scanner's name to reason, if it did not answer."""

    def __init__(self, scanners: Scanners, rounds: JobRounds | None = None) -> None:
        self._scanners = scanners
        self._rounds = JobRounds() if rounds is None else rounds
        self.problems: Mapping[str, str] = {}

    @property
    def defers(self) -> bool:
        """Whether messages are deferred while a scanner does not answer."""
        return self._scanners.defers

    async def run(self, every: float = EVERY_SECONDS, answer: float = ANSWER_SECONDS) -> None:
        """Check every `every` seconds until cancelled; `answer`: timeout in seconds."""
        while self._scanners.on:
            with self._rounds.watch(JOB, "maintenance.error"):
                self.problems = await self._scanners.probe(answer)
            await asyncio.sleep(every)
