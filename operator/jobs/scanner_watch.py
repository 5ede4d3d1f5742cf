"""Asks the scanners again and again whether they are there, before a message needs them."""

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from relay.scan.scanner import Scanning

_log = structlog.get_logger(__name__)

EVERY_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 10.0  # for one to answer


class ScannerWatch:
    """What the last round found: `problems`, by the name of the scanner that did not answer."""

    def __init__(self, scanning: Scanning) -> None:
        self._scanning = scanning
        self.problems: Mapping[str, str] = {}

    @property
    def defers(self) -> bool:
        """Whether messages are put off while a scanner does not answer."""
        return self._scanning.defers

    async def run(self, every: float = EVERY_SECONDS, answer: float = ANSWER_SECONDS) -> None:
        """Ask now, and again and again; until cancelled."""
        while self._scanning.on:
            try:
                self.problems = await self._scanning.probe(answer)
            except Exception:
                # Whatever it was, the next round must come: nobody would hear of what happens then.
                _log.exception("maintenance.error")
            await asyncio.sleep(every)
