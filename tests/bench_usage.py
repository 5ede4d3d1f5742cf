"""What processes and a database take: CPU, memory, room on disk."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:  # grows meanwhile
        try:
            children = Path(f"/proc/{one}/task/{one}/children").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        found += map(int, children.split())
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU that processes, and those below them that have ended, have taken so far."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(map(int, text.rpartition(")")[2].split()[11:15]))
    return total / _TICKS


def pss_megabytes(pids: Iterable[int]) -> float:
    """Memory of processes, what they share counted once for all that share it."""
    total = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def sqlite_octets(path: Path) -> int:
    """A SQLite database on disk, its log included."""
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())
