"""Conditions of a courier's work: its machine's name is its own, and its clock is right.

Looked at every few seconds.  A database that is away changes nothing: no work can be taken from it
anyway, and when it is back the first look comes before the first work.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import structlog

from mailstore.errors import StoreUnavailable
from relay.machines.clock_difference import ClockComparison
from relay.machines.presence import Presence

from ..settings.model import Settings
from . import record as machine
from .node_name import node_name
from .record import Record, hold_name, rename

_log = structlog.get_logger(__name__)

# After which a beat is too old to take work: before another machine may believe that we are gone.
STALE_SECONDS: Final = machine.WATCH_SECONDS - machine.BEAT_SECONDS


@dataclass(slots=True)
class Pulse:
    """Of the courier of machine `node`; `presence` is None where the database has one (SQLite).

    `lost` is awaited once, when another machine has the name.
    """

    node: str
    clocks: ClockComparison
    presence: Presence | None
    record: Record
    lost: Callable[[], Awaitable[None]]
    _is_lost: bool = field(default=False, init=False)
    _told_apart: bool = field(default=False, init=False)
    _away: bool = field(default=False, init=False)
    _now: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def takes_work(self) -> bool:
        """Whether new work may be taken now; what is under way goes on in any case."""
        if self._is_lost or self.clocks.apart is not False:
            return False
        return self.presence is None or self.presence.since_count < STALE_SECONDS

    def look_now(self) -> None:
        """Look without waiting, since the clock jumped."""
        self._now.set()

    async def run(self) -> None:
        """Look again and again, until cancelled or the name is lost."""
        while await self.look():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._now.wait(), machine.BEAT_SECONDS)
            self._now.clear()

    async def look(self) -> bool:
        """Compare the clocks and count once; False if the name is lost."""
        try:
            await asyncio.to_thread(self.clocks.compare)
            # Where none ends, each count more would hold a session of the server.
            await asyncio.to_thread(self.clocks.database.check_commits)
            if self.presence is not None and not await asyncio.to_thread(self.presence.count):
                self._is_lost = True
        except StoreUnavailable as error:
            if not self._away:
                _log.warning("machine.unheard", detail=str(error))
            self._away = True
            return True
        self._away = False
        self._tell()
        if self._is_lost:
            await self.lost()
        return not self._is_lost

    def _tell(self) -> None:
        """Tell of clocks that are apart when it begins, and of its end."""
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
    """The pulse of a courier whose machine's name is proven, looked at once; `run` it.

    `waits` is told when the proof takes a while; None if told to stop meanwhile.  A name that is
    lost later is replaced by another one, and the courier told to stop.  Raises SettingsError and
    StoreUnavailable.
    """
    presence = None
    if clocks.database.several:
        await asyncio.to_thread(clocks.database.check_commits)
        presence = await hold_name(settings, clocks.database, stop, record, waits)
        if presence is None:
            return None
    node = presence.name if presence is not None else node_name(settings)

    async def lost() -> None:
        await rename(settings, node, stop, record)
        stop.set()

    pulse = Pulse(node, clocks, presence, record, lost)
    await pulse.look()
    return pulse
