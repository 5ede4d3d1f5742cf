"""Memory given back to the system.

The C library keeps what was freed in small pieces, such as the buffers of a thousand connections
that have ended, for its own use: the process then looks as large as on its busiest day.
"""

import asyncio
import ctypes
from typing import Final

TRIM_SECONDS: Final = 10.0


async def keep_trimmed(interval: float = TRIM_SECONDS) -> None:
    """Give freed memory back every `interval` seconds, until cancelled; nothing but on glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None:
        await asyncio.sleep(interval)
        await asyncio.to_thread(trim, 0)
