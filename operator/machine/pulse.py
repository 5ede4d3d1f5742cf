"""Pulse: the courier leases mail only while its machine's name and clock are right.

Both are checked every few seconds.  If the database is unreachable, nothing can be leased anyway;
when it is back, the check comes before the first lease.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import structlog

from mailstore.errors import StoreUnavailable
from relay.machines.clock_difference import ClockComparison
from relay.machines.presence import MachinePresence

from ..settings.model import Settings
from . import record as machine
from .node_name import node_name
from .record import Record, hold_name, rename

_log = structlog.get_logger(__name__)

# With an older last beat nothing is leased: another machine may soon count this machine as gone.
STALE_SECONDS: Final = machine.WATCH_SECONDS - machine.BEAT_SECONDS


@dataclass(slots=True)
class Pulse:
    """Pulse of the courier of machine `node`.

    `presence`: None if the database serves only one machine (SQLite).
    `on_name_lost`: awaited once, if another machine has the name.
    """

    node: str
    clocks: ClockComparison
    presence: MachinePresence | None
    record: Record
    on_name_lost: Callable[[], Awaitable[None]]
    _is_lost: bool = field(default=False, init=False)
    _told_apart: bool = field(default=False, init=False)
    _away: bool = field(default=False, init=False)
    _now: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def takes_work(self) -> bool:
        """Whether deliveries may be leased now.  Attempts in flight continue in any case."""
        if self._is_lost or self.clocks.apart is not False:
            return False
        return self.presence is None or self.presence.since_count < STALE_SECONDS

    def check_now(self) -> None:
        """Check at once: the clock jumped."""
        self._now.set()

    async def run(self) -> None:
        """Check every BEAT_SECONDS until cancelled or the name is lost."""
        while await self.check():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._now.wait(), machine.BEAT_SECONDS)
            self._now.clear()

    async def check(self) -> bool:
        """Compare the clocks and write one beat; False if the name is lost."""
        try:
            await asyncio.to_thread(self.clocks.compare)
            # If commits hang, each further beat would block one more database connection.
            await asyncio.to_thread(self.clocks.database.check_commits)
            if self.presence is not None and not await asyncio.to_thread(self.presence.count_beat):
                self._is_lost = True
        except StoreUnavailable as error:
            if not self._away:
                _log.warning("machine.unheard", detail=str(error))
            self._away = True
            return True
        self._away = False
        self._tell()
        if self._is_lost:
            await self.on_name_lost()
        return not self._is_lost

    def _tell(self) -> None:
        """Log when the clocks begin to differ too much, and when they agree again."""
        apart, last = bool(self.clocks.apart), self.clocks.last
        if last is not None and apart != self._told_apart:
            facts = {
                "database": last.theirs.isoformat(timespec="seconds"),
                "by_seconds": round(last.by.total_seconds(), 1),
            }
            if apart:
                facts["detail"] = self.clocks.problem
                _log.error("clock.apart", **facts)
                self.record("clock.apart", **facts)
            else:
                _log.info("clock.together", **facts)
                self.record("clock.together", **facts)
        self._told_apart = apart


async def begin_pulse(
    settings: Settings,
    clocks: ClockComparison,
    record: Record,
    stop: asyncio.Event,
    waits: Callable[[], None],
) -> Pulse | None:
    """Secure the machine's name, check once, and return the pulse for the caller to `run`.

    `waits`: called if the name must be watched first.  None if `stop` is set meanwhile.  If the
    name is lost later, a new name is made and `stop` is set.  Raises SettingsError and
    StoreUnavailable.
    """
    presence = None
    if clocks.database.several:
        await asyncio.to_thread(clocks.database.check_commits)
        presence = await hold_name(settings, clocks.database, stop, record, waits)
        if presence is None:
            return None
    node = presence.name if presence is not None else node_name(settings)

    async def on_name_lost() -> None:
        await rename(settings, node, stop, record)
        stop.set()

    pulse = Pulse(node, clocks, presence, record, on_name_lost)
    await pulse.check()
    return pulse
