"""Opens the guard over the disk and the store of a process, by the settings."""

import math
import time
from typing import Final

from mailstore.blobs.store import Store
from relay.acceptance.disk_guard import Floor, Spool

from ..assembly import runtime
from ..settings.model import Settings

TRIAL_SECONDS: Final = 60.0  # between two trials whether a body could be stored


def open_spool(settings: Settings, store: Store, *, bodies: bool = False) -> Spool:
    """The guard over the disk that messages are kept on; with `bodies` it looks at their store too.

    A worker does not: small messages need none of it.  What answers may still take nothing, such as
    a bucket whose key lost the right to put: once a minute something is stored there.
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
            store.blobs.look()
        store.database.probe()

    floor = Floor(storage.min_free_bytes, storage.min_free_inodes)
    return Spool(runtime.storage_folder(settings), floor, probe, look)
