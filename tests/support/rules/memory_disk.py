"""Folders of unit tests in memory (tmpfs): no wait for a disk at each fsync.

`make test` runs the same tests on the disk, like those of all other tiers.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

_MEMORY: Final = Path("/dev/shm")  # pytest makes a private folder in it
_ENOUGH: Final = 1024**3  # free octets; a container may have 64 MB


def use_memory_disk() -> None:
    """Let pytest make `tmp_path` in memory, if there is room and nobody chose a place."""
    with suppress(OSError):
        if shutil.disk_usage(_MEMORY).free >= _ENOUGH and os.access(_MEMORY, os.W_OK):
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))
