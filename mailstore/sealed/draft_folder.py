"""Folder of spilled drafts: private, and swept of the files of dead processes."""

import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from mailstore.errors import StoreUnavailable


def make_private_folder(folder: Path) -> None:
    """Make a folder for the owner of its parent alone, even if root does it. Raises OSError."""
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:  # a root command, such as a check: the daemon must write there later
        parent = folder.parent.stat()
        if parent.st_uid:
            os.chown(folder, parent.st_uid, parent.st_gid)


def make_drafts_folder(folder: Path) -> None:
    """Make a missing folder, for its owner alone. Raises StoreUnavailable."""
    try:
        if not folder.is_dir():
            with suppress(FileExistsError):  # made by another process meanwhile
                make_private_folder(folder)
    except OSError as error:
        raise StoreUnavailable(f"cannot make the folder {folder}: {error.strerror}") from error


def sweep_drafts(folder: Path, older_than: datetime) -> int:
    """Remove files last written before a time; return their number. Raises StoreUnavailable."""
    removed = 0
    try:
        for path in folder.iterdir():
            # A live draft may end, and its file vanish, at any moment.
            try:
                if path.stat().st_mtime < older_than.timestamp():
                    path.unlink()
                    removed += 1
            except FileNotFoundError:
                continue
    except OSError as error:
        raise StoreUnavailable(f"cannot sweep {folder}: {error.strerror}") from error
    return removed
