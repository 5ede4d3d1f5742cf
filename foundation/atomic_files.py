"""Files that are either whole or not there, also after a power failure.

POSIX rename is atomic, but only what was synced survives: first the content, then the name, which
is a change of the folder.
"""

import os
from pathlib import Path


def replace_file(path: Path, octets: bytes) -> None:
    """Give `path` this content, on disk at return; a reader meets the old content or the new.

    Its writers must exclude each other: the temporary name is fixed, so that what a failure leaves
    is overwritten by the next writer. Raises OSError.
    """
    draft = path.with_name(f".{path.name}.tmp")
    with draft.open("wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder and its parents, on disk at return, unless it is there. Raises OSError."""
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
