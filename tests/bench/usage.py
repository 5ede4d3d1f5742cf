"""What processes and a database take: CPU, memory, room on disk."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from sqlalchemy import text

from mailstore.db.database import Database

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
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(map(int, stat.rpartition(")")[2].split()[11:15]))
    return total / _TICKS


def pss_megabytes(pids: Iterable[int]) -> float:
    """Memory of processes, what they share counted once for all that share it."""
    total = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def database_octets(database: Database) -> int:
    """A database on disk; of SQLite its log included, of PostgreSQL, which shares one, not."""
    if database.url.get_backend_name() != "sqlite":
        with database.read() as connection:
            size = text("SELECT pg_database_size(current_database())")
            return int(connection.execute(size).scalar_one())
    path = Path(str(database.url.database))
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())
