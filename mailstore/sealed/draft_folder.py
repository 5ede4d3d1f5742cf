"""Folder of spilled drafts: private, and swept of the files of dead processes."""

import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from mailstore.errors import StoreUnavailable

Owner = tuple[int, int]  # user and group


def other_owner(parent: Path) -> Owner | None:
    """Owner of `parent`, if folders made in it must be given to that user. Raises OSError."""
    if os.geteuid() != 0:
        return None
    # A root command, such as a check: the daemon must write there later.
    found = parent.stat()
    return (found.st_uid, found.st_gid) if found.st_uid else None


def make_private_folder(folder: Path) -> None:
    """Make a folder for the owner of its parent alone, even if root does it. Raises OSError."""
    folder.mkdir(mode=0o700)
    _give(folder, other_owner(folder.parent))


def make_private_for(owner: Owner | None, folder: Path) -> None:
    """Make a folder for its owner alone. `owner`: see `other_owner`. Raises OSError."""
    folder.mkdir(mode=0o700)
    _give(folder, owner)


def _give(folder: Path, owner: Owner | None) -> None:
    if owner is not None:
        os.chown(folder, *owner)


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
