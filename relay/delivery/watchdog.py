"""Watchdog: aborts attempts without progress, and attempts whose lease is about to end."""

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
    """Watches the attempts in flight; `stuck`: seconds allowed without progress.

    `monotonic`: clock of their `Progress`.
    """

    stuck: float
    in_flight: InFlight
    monotonic: Callable[[], float] = time.monotonic

    async def watch(self) -> None:
        """Check the attempts every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self.stuck / 4))
            self.look()

    def look(self) -> None:
        """Abort the attempts that must not go on; log the phase of each."""
        now = self.monotonic()
        for one in self.in_flight:
            why = None if one.abort_reason else one.problem(now, self.stuck)
            if why:
                one.abort_reason = why
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
