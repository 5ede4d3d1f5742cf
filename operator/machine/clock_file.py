"""File in the run folder with the state of the clock watch, kept over restarts of the daemon.

The maintenance process writes the state of its watch (`foundation.clock_watch`).  A new process
continues from it: it knows the jumps of the day, and detects a jump since the file was written.
The file is valid until the machine reboots, so it is written without fsync.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import structlog

from foundation.clock_watch import ClockMemory, ClockWatch, Jump, since_boot

from ..assembly.clock import utc_now
from ..assembly.storage import storage_folder
from ..settings.model import Settings
from .run_directory import RunFolder

_log = structlog.get_logger(__name__)

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def this_boot() -> str:
    """Boot identifier of the machine; '' if the system has none."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


@dataclass(slots=True)
class ClockFile:
    """State of the clock watch at `path`, valid for the boot identifier `boot`.  Best effort."""

    path: Path
    boot: str = field(default_factory=this_boot)
    _failing: bool = field(default=False, init=False)

    def read(self) -> ClockMemory | None:
        """State written since the last boot; None if missing, unreadable or from another boot."""
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

    def keep(self, memory: ClockMemory) -> None:
        """Write the state atomically; blocks.  A failing disk is logged once."""
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
    """Clock watch that continues from the file, and the file."""
    file = ClockFile(RunFolder(storage_folder(settings) / "run").clock)
    return ClockWatch(utc_now, memory=file.read()), file


def _memory(found: Mapping[str, Any]) -> ClockMemory:
    """Parse the file's JSON.  Raises ValueError, KeyError, TypeError or OverflowError."""
    return ClockMemory(
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
