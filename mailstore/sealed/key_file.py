"""Files of keys: lines of text for their owner alone, replaced whole and synced.

Used by the blob store's keys (`mailstore.sealed.keyring`) and by those of the audit trail
(`mailstore.audit.keys`). A line that begins with `#` is a comment. Lines are secrets: no error
quotes one.
"""

import fcntl
import io
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from foundation.fsync import sync_directory
from mailstore.errors import InvalidKeys


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Return number and text of each line that has a key, at least one. Raises InvalidKeys."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise InvalidKeys(
                    f"{path}: readable by other users; run: chmod 600 {shlex.quote(str(path))}"
                )
            lines = file.read().decode("ascii", "replace").splitlines()
    except OSError as error:
        raise unreadable(path, error) from error
    found = [
        (number, line)
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.startswith("#")
    ]
    if not found:
        raise InvalidKeys(f"{path}: no key in it")
    return found


def write_text(path: Path, text: str) -> None:
    """Replace the file, or make it; on disk at the end. Hold `file_lock`. Raises InvalidKeys."""
    temporary = path.with_name(f"{path.name}.new")
    try:
        temporary.unlink(missing_ok=True)  # left by a killed rotation
        with open_private(temporary) as file:
            file.write(text.encode("ascii"))
            # Same owner as the old file or the folder: root may be rotating.
            owner = (path if path.exists() else path.parent).stat()
            if owner.st_uid != os.geteuid():
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise InvalidKeys(f"{path}: cannot be written: {error.strerror}") from error


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Lock out other writers of the file. Raises InvalidKeys."""
    try:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidKeys(f"{path}: cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def open_private(path: Path) -> io.FileIO:
    """Create a file that only its owner can read. Raises OSError."""
    return io.FileIO(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600))


def sync_name(path: Path) -> None:
    """Sync the file's folder: the process that renamed the file may not have. InvalidKeys."""
    try:
        sync_directory(path.parent)
    except OSError as error:
        raise unreadable(path, error) from error


def file_stamp(path: Path) -> tuple[int, ...]:
    """Stamp of the file, which changes with it; empty if there is no file."""
    with suppress(OSError):
        found = path.stat()
        return found.st_mtime_ns, found.st_ino, found.st_size
    return ()


def unreadable(path: Path, error: OSError) -> InvalidKeys:
    """Error for a file that cannot be read."""
    return InvalidKeys(f"{path}: cannot be read: {error.strerror}")
