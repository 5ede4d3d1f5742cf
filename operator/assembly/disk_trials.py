"""Disk guard of a process, made from the settings, with test writes to the store of bodies."""

import math
import time
from typing import Final

from mailstore.blobs.store import Store
from relay.acceptance.disk_guard import DiskGuard, FreeSpaceFloor

from ..settings.model import Settings
from .storage import storage_folder

TRIAL_SECONDS: Final = 60.0  # between two test writes to the store of bodies


def open_disk_guard(settings: Settings, store: Store, *, bodies: bool = False) -> DiskGuard:
    """Guard of the disk and the database; with `bodies` also of the store of bodies.

    Workers leave `bodies` out: small messages need only the database.  A store that answers may
    still refuse writes, such as a bucket whose key lost the right to put: every TRIAL_SECONDS a
    test object is written.
    """
    storage = settings.storage
    stored_at = -math.inf

    def probe() -> None:
        store.blobs.probe()
        store.database.probe()

    def look() -> None:
        nonlocal stored_at
        if bodies and time.monotonic() - stored_at >= TRIAL_SECONDS:
            store.blobs.probe()
            stored_at = time.monotonic()
        elif bodies:
            store.blobs.check_access()
        store.database.probe()

    floor = FreeSpaceFloor(storage.min_free_bytes, storage.min_free_inodes)
    return DiskGuard(storage_folder(settings), floor, probe, look)
