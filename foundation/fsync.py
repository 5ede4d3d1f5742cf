"""Making a group of files durable at the cost of one.

`syncfs` writes out a whole file system: for a group of new files that is one commit of its journal
where syncing each file, and then each directory, costs one after the other.  Linux reports its
errors from 5.8 on; elsewhere there is no such call, and files are synced one by one.
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
    """Wait until all of the file system of an open file is on disk.  Raises OSError.

    An error since the file was opened, or since the last call with it, is reported once; that of a
    single file is also reported by syncing that file.
    """
    if _syncfs is None:
        raise OSError("syncfs is not available")
    if _syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def sync_directory(path: Path) -> None:
    """Wait until the names in a directory are on disk.  Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
