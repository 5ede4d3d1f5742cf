"""Watchdog: breaks off attempts without progress, and attempts whose lease is ending."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from relay.delivery.in_flight import InFlight

_log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 5.0


@dataclass(slots=True)
class Watchdog:
    """Watches the attempts in flight; `stuck` is how many seconds each may go without progress.

    `monotonic` is the clock of their `Progress`.
    """

    stuck: float
    in_flight: InFlight
    monotonic: Callable[[], float] = time.monotonic

    async def watch(self) -> None:
        """Look at the attempts now and then, until cancelled."""
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self.stuck / 4))
            self.look()

    def look(self) -> None:
        """Break off the attempts that must not go on, and log where each was."""
        now = self.monotonic()
        for one in self.in_flight:
            why = None if one.broken else one.problem(now, self.stuck)
            if why:
                one.broken = why
                _log.error(
                    "delivery.broken_off",
                    reason=why,
                    phase=one.progress.phase,
                    seconds=round(now - one.progress.moved),
                    session=one.progress.session,
                    delivery=one.claim.id,
                    message=one.claim.message_id,
                    domain=one.claim.domain,
                )
                one.cancel()
