"""The folder that drafts are spilled to: made private, and swept of what dead processes left."""

from datetime import datetime
from pathlib import Path

from mailstore.errors import StoreUnavailable


def make_drafts_folder(folder: Path) -> None:
    """Make it where only its parent exists, for its owner alone. Raises StoreUnavailable."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
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
