"""Return of freed memory to the system.

The C library keeps small freed blocks, such as the buffers of a thousand closed connections.  The
process would then stay as large as on its busiest day.
"""

import asyncio
import ctypes
from typing import Final

TRIM_SECONDS: Final = 10.0


async def keep_trimmed(interval: float = TRIM_SECONDS) -> None:
    """Return freed memory every `interval` seconds until cancelled.  Only glibc can do it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None:
        await asyncio.sleep(interval)
        await asyncio.to_thread(trim, 0)
