"""Atomic files: after a power failure, a file has its old content or its new content, whole.

POSIX rename is atomic, but only synced data survives a power failure. So the content is synced
first, then the folder, because a new name is a change of the folder.
"""

import os
from pathlib import Path


def replace_file(path: Path, octets: bytes) -> None:
    """Replace the content of `path`, on disk at return; a reader sees the old content or the new.

    Writers of a path must exclude each other: the temporary name is fixed, so that the next writer
    overwrites the remains of a failed write. Raises OSError.
    """
    draft = path.with_name(f".{path.name}.tmp")
    with draft.open("wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make a missing folder and its parents, on disk at return. Raises OSError."""
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
