"""The clock of this machine over reloads and restarts of the daemon: a file in the run folder.

It has what the watch of the maintenance process knows (`foundation.clock_watch`).  A process that
starts goes on from it: jumps of the day are remembered, and one in between is seen.  It is of use
until the machine starts again, as that clock does then; so it is written without a sync.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import structlog

from foundation.clock_watch import ClockWatch, Jump, Memory, since_boot

from ..assembly import runtime
from ..settings.model import Settings
from .run_directory import RunFolder

_log = structlog.get_logger(__name__)

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def this_boot() -> str:
    """The identifier of the machine's start, '' where the system has none."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


@dataclass(slots=True)
class ClockFile:
    """What was known of the clock, at `path`, in the machine's start `boot`.  Best effort."""

    path: Path
    boot: str = field(default_factory=this_boot)
    _failing: bool = field(default=False, init=False)

    def read(self) -> Memory | None:
        """What was kept since the machine started; None if there is nothing of use."""
        try:
            found = json.loads(self.path.read_text(encoding="ascii"))
            memory = _memory(found)
            same = bool(self.boot) and found["boot"] == self.boot
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            _log.warning("clock.unread", file=str(self.path), detail=str(error))
            return None
        return memory if same and memory.running <= since_boot() else None

    def keep(self, memory: Memory) -> None:
        """Write it, whole or not at all; blocks.  A disk that takes nothing is told of once."""
        facts = {
            "boot": self.boot,
            "began": memory.began,
            "running": memory.running,
            "wall": memory.wall.isoformat(),
            "jumps": [
                {"seen": seen, "to": jump.to.isoformat(), "by": jump.by.total_seconds()}
                for seen, jump in memory.jumps
            ],
        }
        draft = self.path.with_name(f"{self.path.name}.new")
        try:
            draft.write_text(json.dumps(facts), encoding="ascii")
            draft.replace(self.path)
        except OSError as error:
            if not self._failing:
                _log.warning("clock.unkept", file=str(self.path), detail=str(error))
            self._failing = True
        else:
            self._failing = False


def open_clock(settings: Settings) -> tuple[ClockWatch, ClockFile]:
    """A watch that goes on where that of the processes before was, and its file."""
    file = ClockFile(RunFolder(runtime.storage_folder(settings) / "run").clock)
    return ClockWatch(runtime.clock, memory=file.read()), file


def _memory(found: Mapping[str, Any]) -> Memory:
    """Raises ValueError, KeyError, TypeError or OverflowError."""
    return Memory(
        began=float(found["began"]),
        running=float(found["running"]),
        wall=_instant(found["wall"]),
        jumps=tuple(
            (float(one["seen"]), Jump(_instant(one["to"]), timedelta(seconds=one["by"])))
            for one in found["jumps"]
        ),
    )


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        message = f"{text}: no time zone"
        raise ValueError(message)
    return at
