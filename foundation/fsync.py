"""Fsync of a group of files for the price of one.

`syncfs` writes out a whole file system. For a group of new files this is a single commit of its
journal, while fsync of each file and each directory costs one commit each. Linux reports errors of
`syncfs` since 5.8. Other systems have no such call: files are synced one by one.
"""

import ctypes
import os
import platform
import re
import sys
from pathlib import Path
from typing import Final


def _linux_reports_errors() -> bool:
    version = re.match(r"(\d+)\.(\d+)", platform.release())
    return (
        sys.platform == "linux"
        and version is not None
        and (int(version[1]), int(version[2])) >= (5, 8)
    )


_syncfs: Final = (
    getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None) if _linux_reports_errors() else None
)

AVAILABLE: Final = _syncfs is not None


def sync_filesystem(descriptor: int) -> None:
    """Sync the file system of an open file (its descriptor). Raises OSError.

    An error since the file was opened, or since the last call with it, is reported once. An fsync
    of the single file reports its own error too.
    """
    if _syncfs is None:
        raise OSError("syncfs is not available")
    if _syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def sync_directory(path: Path) -> None:
    """Wait until the names in a directory are on disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
