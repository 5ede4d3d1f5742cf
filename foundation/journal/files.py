"""Files of the trace journal: a folder for each day, a file of JSON lines for each hour.

`trace/2026-11-23/14.jsonl`, days and hours of UTC. Days beyond their retention (DOMAIN §9.60) are
pruned. Files and folders with other names are never touched.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

NAME: Final = "trace"  # the journal's folder, in the storage folder

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_HOUR: Final = re.compile(r"([01]\d|2[0-3])\.jsonl", re.ASCII)


def hour_file(folder: Path, at: str) -> Path:
    """Path of the file for the hour of `at`, a time in UTC in ISO 8601."""
    return folder / at[:10] / f"{at[11:13]}.jsonl"


@dataclass(frozen=True, slots=True)
class HourFile:
    """A file of the journal, with the start of its hour."""

    begins: datetime
    path: Path


def hours(folder: Path) -> list[HourFile]:
    """List the files of the journal, oldest first; empty without a journal. Raises OSError."""
    found = [
        HourFile(datetime(day.year, day.month, day.day, int(file.name[:2]), tzinfo=UTC), file)
        for day, path in _days(folder)
        for file in _files(path)
    ]
    return sorted(found, key=lambda hour: hour.begins)


@dataclass(frozen=True, slots=True)
class PruneResult:
    """Result of pruning: number of days removed, and errors of days that could not be."""

    days: int
    problems: tuple[str, ...]


def prune(folder: Path, oldest: date) -> PruneResult:
    """Remove the days before `oldest`. Raises OSError if the folder cannot be read."""
    removed, problems = 0, []
    for day, path in _days(folder):
        if day >= oldest:
            continue
        try:
            for file in _files(path):
                file.unlink()
            path.rmdir()
            removed += 1
        except OSError as error:
            problems.append(str(error))
    return PruneResult(removed, tuple(problems))


def _days(folder: Path) -> Iterator[tuple[date, Path]]:
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        day = _date(path.name)
        if day is not None and path.is_dir() and not path.is_symlink():
            yield day, path


def _date(name: str) -> date | None:
    try:
        return date.fromisoformat(name) if _DAY.fullmatch(name) else None
    except ValueError:
        return None


def _files(day: Path) -> list[Path]:
    return [
        path
        for path in day.iterdir()
        if _HOUR.fullmatch(path.name) and path.is_file() and not path.is_symlink()
    ]
