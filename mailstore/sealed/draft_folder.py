"""The folder that drafts are spilled to: made private, and swept of what dead processes left."""

import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from mailstore.errors import StoreUnavailable


def make_private_folder(folder: Path) -> None:
    """Make it for the owner of its parent alone, also where root does it. Raises OSError."""
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:  # a command that only reads: the daemon is to write there
        parent = folder.parent.stat()
        if parent.st_uid:
            os.chown(folder, parent.st_uid, parent.st_gid)


def make_drafts_folder(folder: Path) -> None:
    """Make it where only its parent exists, for its owner alone. Raises StoreUnavailable."""
    try:
        if not folder.is_dir():
            with suppress(FileExistsError):  # by another process, meanwhile
                make_private_folder(folder)
    except OSError as error:
        raise StoreUnavailable(f"cannot make the folder {folder}: {error.strerror}") from error


def sweep_drafts(folder: Path, older_than: datetime) -> int:
    """Remove temporary files last written before a time; their number. Raises StoreUnavailable."""
    removed = 0
    try:
        for path in folder.iterdir():
            # A living draft may end, and its file go, at any moment.
            try:
                if path.stat().st_mtime < older_than.timestamp():
                    path.unlink()
                    removed += 1
            except FileNotFoundError:
                continue
    except OSError as error:
        raise StoreUnavailable(f"cannot sweep {folder}: {error.strerror}") from error
    return removed
