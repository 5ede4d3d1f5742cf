"""The spool guard: mail is deferred before the disk is full, and while the store fails.

`452 4.3.1` (RFC 3463 §3.4) below a floor of free bytes and inodes.  `451 4.3.0` after a message
that could not be stored, or after a look that found the store's write lock taken, until a probe of
the store succeeds.  A check answers at once from the last measurement; the watch measures again and
again.  Sessions are not ended, and accepted messages stay.
"""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from foundation.best_effort import best_effort
from relay.smtp.errors import Refused
from relay.smtp.reply import Reply

_log = structlog.get_logger(__name__)

ANSWER_SECONDS: Final = 10.0  # seconds: timeout for an answer of the store
LOOK_SECONDS: Final = 5.0  # between two cheap looks at a store that seems well
_MARGIN: Final = 10  # LOW ends a tenth above the floor, so that it does not flap

_LOW: Final = Reply(452, "4.3.1", "Mail store is nearly full, try again later")
_UNWELL: Final = Reply(451, "4.3.0", "Mail store unavailable, try again later")


class DiskGuardState(StrEnum):
    """Whether mail can be taken: yes; no, too little room; no, storing fails."""

    WELL = "well"
    LOW = "low"
    UNWELL = "unwell"


@dataclass(frozen=True, slots=True)
class FreeSpaceFloor:
    """The octets and inodes that must stay free; zero for no floor."""

    min_free_bytes: int
    min_free_inodes: int


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """Free room on a file system, for us; `inodes` is None where they are not counted."""

    octets: int
    inodes: int | None

    def short_of(self, floor: FreeSpaceFloor, *, size: int = 0, margin: int = 0) -> bool:
        """Whether a message of `size` octets would go below a floor raised by 1/`margin` of it."""

        def raised(least: int) -> int:
            return least + (least // margin if margin else 0)

        if self.octets - size < raised(floor.min_free_bytes):
            return True
        return self.inodes is not None and self.inodes < raised(floor.min_free_inodes)


@dataclass(frozen=True, slots=True)
class DiskHealth:
    """The spool at one moment; `trouble` says why storing failed, empty if it did not."""

    floor: FreeSpaceFloor
    room: FreeSpace | None = None
    low: bool = False
    trouble: str = ""

    def measured(self, room: FreeSpace) -> "DiskHealth":
        """The health after a measurement."""
        low = room.short_of(self.floor, margin=_MARGIN if self.low else 0)
        return replace(self, room=room, low=low)

    def failed(self, trouble: str) -> "DiskHealth":
        """The health after a failure; the first one is kept until a recovery."""
        return replace(self, trouble=self.trouble or trouble or "unknown")

    def recovered(self) -> "DiskHealth":
        """The health after a probe that succeeded."""
        return replace(self, trouble="")

    @property
    def state(self) -> DiskGuardState:
        """The state; failing hides low room, because it is worse."""
        if self.trouble:
            return DiskGuardState.UNWELL
        return DiskGuardState.LOW if self.low else DiskGuardState.WELL

    def refusal(self, size: int | None) -> Reply | None:
        """Why a message cannot be taken now, None if it can; `size` in octets, None if unknown."""
        if self.trouble:
            return _UNWELL
        lacking = self.room is not None and self.room.short_of(self.floor, size=size or 0)
        return _LOW if self.low or lacking else None

    def __str__(self) -> str:
        room = self.room
        inodes = "uncounted" if room is None or room.inodes is None else room.inodes
        free = f"{room.octets} octets and {inodes} inodes free" if room else "never measured"
        return f"{self.trouble}; {free}" if self.trouble else free


def measure(folder: Path) -> FreeSpace:
    """Free room on the file system of a folder, for users other than root.  Raises OSError."""
    found = os.statvfs(folder)
    return FreeSpace(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at the disk; `probed`: the store passed a full test."""

    room: FreeSpace | None
    trouble: str = ""
    probed: bool = False


class DiskGuard:
    """The guard of one process over the file system of `folder`, measured once as it is made.

    `probe()` blocks, does the same as storing a message, and raises any error that it meets.
    `look()`, if given, is a nearly free part of it, done every LOOK_SECONDS while all seems well:
    so the guard finds a fault before a message fails.
    All methods but `watch` return at once; they belong to the event loop's thread.
    """

    def __init__(
        self,
        folder: Path,
        floor: FreeSpaceFloor,
        probe: Callable[[], None],
        look: Callable[[], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._folder = folder
        self._probe = probe
        self._cheap = look
        self._looked = self._monotonic()
        self._health = DiskHealth(floor)
        self._failures = 0
        self._learn(self._look(probing=False), 0)

    @property
    def state(self) -> DiskGuardState:
        """The state of the last measurement."""
        return self._health.state

    @property
    def trouble(self) -> str:
        """Why storing fails; empty if it does not."""
        return self._health.trouble

    @property
    def free_bytes(self) -> int | None:
        """Free octets of the last measurement; None if there was never one."""
        return self._health.room.octets if self._health.room else None

    @property
    def free_inodes(self) -> int | None:
        """Free inodes of the last measurement; None also where they are not counted."""
        return self._health.room.inodes if self._health.room else None

    def check(self, size: int | None) -> None:
        """Return if a message of a declared size in octets, or None, may be taken.  Raises Refused.

        Messages that arrive at the same time all pass: the floor leaves room for them.
        """
        reply = self._health.refusal(size)
        if reply is not None:
            raise Refused("spool", reply, str(self._health))

    def failed(self, detail: str) -> None:
        """Report that a message could not be stored: no more are taken until a probe succeeds."""
        self._failures += 1
        self._become(self._health.failed(detail))

    async def watch(self, interval: float = 1.0, answer_seconds: float = ANSWER_SECONDS) -> None:
        """Measure every `interval` seconds, and probe while unwell, until cancelled.

        If the guard itself fails, for any reason, the spool counts as unwell until the next look.
        """
        told = ""
        while True:
            try:
                await self._watch_once(answer_seconds)
                told = ""
            except Exception as error:
                why = f"internal error: {type(error).__name__}"
                self.failed(why)
                if why != told:  # logged once, not at every look
                    with best_effort:
                        _log.exception("spool.error")
                told = why
            await asyncio.sleep(interval)

    async def _watch_once(self, answer_seconds: float) -> None:
        loop, failures = asyncio.get_running_loop(), self._failures
        probing = self.state is DiskGuardState.UNWELL
        looking = loop.run_in_executor(None, partial(self._look, probing=probing))
        done, _ = await asyncio.wait({looking}, timeout=answer_seconds)
        if not done:
            self.failed(f"the store has not answered for {answer_seconds:g} s")
        self._learn(await looking, failures)

    def _look(self, *, probing: bool) -> _Look:
        try:
            room = measure(self._folder)
        except OSError as error:
            return _Look(None, f"cannot measure {self._folder}: {error.strerror}")
        if not probing and not self._due():
            return _Look(room)
        try:
            if probing:
                self._probe()
            elif self._cheap is not None:
                self._cheap()
        except Exception as error:  # the watch must go on after any error
            return _Look(room, str(error) or type(error).__name__)
        return _Look(room, probed=probing)

    def _due(self) -> bool:
        now = self._monotonic()
        if self._cheap is None or now - self._looked < LOOK_SECONDS:
            return False
        self._looked = now
        return True

    def _learn(self, look: _Look, failures: int) -> None:
        health = self._health
        if look.trouble:
            health = health.failed(look.trouble)
        elif look.probed and failures == self._failures:  # no message failed during the probe
            health = health.recovered()
        self._become(health.measured(look.room) if look.room else health)

    def _become(self, health: DiskHealth) -> None:
        before, self._health = self._health.state, health
        if health.state is not before:
            log = _log.info if health.state is DiskGuardState.WELL else _log.error
            state, detail = health.state.value, str(health)
            with best_effort:
                log("spool.state", state=state, before=before.value, detail=detail)
