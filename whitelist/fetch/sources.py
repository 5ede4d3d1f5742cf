"""White lists that the site puts in place: a file, or the newest file of a folder.

Adapter; synchronous. The octets are not verified here: `whitelist.national.reader` does that. Each
failure is a `ListRefused`, and the list in force stays.
"""

import stat
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from whitelist.errors import ListReason, ListRefused

SETTLE: Final = timedelta(seconds=2)
"""Minimum age of a file in a folder: a younger file may still be growing."""

SourceStamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that may be a white list, with its octets."""

    path: Path
    data: bytes


def read_source(
    path: Path, now: datetime, *, max_bytes: int, settle: timedelta = SETTLE
) -> SourceFile:
    """Read a file; for a folder, its most recently modified `*.xml`.

    In a folder, names with a leading dot are skipped, and files modified less than `settle` before
    `now` (aware), which may still be growing; `*.tmp` and `*.part` are not `*.xml`. Raises
    ListRefused: unreadable, too-large.
    """
    try:
        chosen = _newest(path, now, settle) if path.is_dir() else path
        before = chosen.stat()
        if not stat.S_ISREG(before.st_mode):
            raise _unreadable(chosen, "neither a file nor a folder; give the path of either")
        with chosen.open("rb") as file:
            data = file.read(max_bytes + 1)
        after = chosen.stat()
    except OSError as error:
        raise _unreadable(
            Path(error.filename or path),
            f"cannot be read ({error.strerror}); give the path of a white list or of its folder",
        ) from error
    if len(data) > max_bytes:
        raise ListRefused(
            ListReason.TOO_LARGE, f"{chosen}: more than {max_bytes} octets; is it the white list?"
        )
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise _unreadable(chosen, "changed while it was read; move finished files into place")
    return SourceFile(chosen, data)


def source_stamp(path: Path, now: datetime, *, settle: timedelta = SETTLE) -> SourceStamp:
    """Return a stamp that changes when `read_source` would read another file; costs only stat.

    A growing file is not in the stamp until `read_source` accepts it, so that no read comes too
    early and none is missed. A file whose stat fails is left out until its stat works.
    """
    found = []
    with suppress(OSError):
        candidates = _settled(path, now, settle) if path.is_dir() else [path]
        for candidate in candidates:
            with suppress(OSError):
                seen = candidate.stat()
                found.append((candidate.name, seen.st_ino, seen.st_size, seen.st_mtime_ns))
    return tuple(sorted(found))


def _newest(folder: Path, now: datetime, settle: timedelta) -> Path:
    settled = _settled(folder, now, settle)
    if settled:
        return settled[-1]
    if growing := _dated(folder):
        raise _unreadable(folder, f"{growing[-1][1].name} may still be growing; try again")
    raise _unreadable(folder, "holds no *.xml file; put the white list there")


def _settled(folder: Path, now: datetime, settle: timedelta) -> list[Path]:
    """Return the settled files, the newest last.

    A file dated in the future was not written just now: the clock that dated it was ahead.
    """
    return [
        path
        for modified, path in _dated(folder)
        if abs(now.timestamp() - modified / 1e9) >= settle.total_seconds()
    ]


def _dated(folder: Path) -> list[tuple[int, Path]]:
    """Return the files that may be lists with their modification time in ns, the newest last."""
    found = []
    for candidate in folder.glob("*.xml"):
        with suppress(FileNotFoundError):  # a dangling link, or a file just moved away
            state = candidate.stat()
            if stat.S_ISREG(state.st_mode) and not candidate.name.startswith("."):
                found.append((state.st_mtime_ns, candidate))
    return sorted(found)


def _unreadable(path: Path, problem: str) -> ListRefused:
    return ListRefused(ListReason.UNREADABLE, f"{path}: {problem}")
