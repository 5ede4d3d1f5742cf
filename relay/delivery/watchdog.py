"""Notices attempts that do not go on, and those whose lease was lost; says where, and ends them."""

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

import structlog

from relay.delivery.attempt import ANSWER, Progress
from relay.queue.model import LEASE, Claim, Lease
from relay.smtp.errors import UNKNOWN_OUTCOME

_log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 5.0
MARGIN_SECONDS: Final = 60.0  # before the end of its lease an attempt that goes on is broken off


@dataclass(slots=True)
class Watched:
    """An attempt: its progress, its lease in monotonic seconds, and why it was broken off.

    The lease is that of the claim, which begins with the attempt.
    """

    claim: Claim
    progress: Progress
    leased_until: float = field(init=False)
    broken: str = ""

    def __post_init__(self) -> None:
        self.leased_until = self.progress.moved + LEASE.total_seconds()

    @property
    def reason(self) -> str:
        """Why it was broken off, for its ending: once it is sent whole, the peer may have it."""
        return UNKNOWN_OUTCOME if self.progress.phase == ANSWER else self.broken

    def problem(self, now: float, stuck: float) -> str:
        """Why it should be broken off at this monotonic time, '' if it should not."""
        if now - self.progress.moved > stuck:
            return "stuck"
        # What is sent whole is better waited for: breaking off would only make a duplicate certain.
        if now > self.leased_until - MARGIN_SECONDS and self.progress.phase != ANSWER:
            return "lease"
        return ""


@dataclass(slots=True)
class Watchdog:
    """Watches tasks; `stuck` is how many seconds one may go without progress.

    `monotonic` is the clock of their `Progress`.
    """

    stuck: float
    monotonic: Callable[[], float] = time.monotonic
    _tasks: dict[asyncio.Task[None], Watched] = field(default_factory=dict)

    def begin(self, task: asyncio.Task[None], watched: Watched) -> None:
        """Watch a task until it ends."""
        self._tasks[task] = watched
        task.add_done_callback(lambda ended: self._tasks.pop(ended, None))

    def renewals(self) -> list[Lease]:
        """The leases that are half over."""
        half = self.monotonic() + LEASE.total_seconds() / 2
        return [one.claim.lease for one in self._tasks.values() if one.leased_until < half]

    def renewed(self, leases: Collection[Lease]) -> None:
        """Note that these leases begin anew; one that is gone comes to its end."""
        until = self.monotonic() + LEASE.total_seconds()
        for one in self._tasks.values():
            if one.claim.lease in leases:
                one.leased_until = until

    async def watch(self) -> None:
        """Look at the tasks now and then, until cancelled."""
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self.stuck / 4))
            self.look()

    def look(self) -> None:
        """Break off what must not go on now."""
        now = self.monotonic()
        for task, one in self._tasks.items():
            why = "" if one.broken else one.problem(now, self.stuck)
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
                task.cancel()
