"""Waits for effects in another process, a database, a socket."""

import asyncio
import time
from collections.abc import Callable

PATIENCE = 60.0  # seconds; normally less than one, but more under load
_PAUSE = 0.01


async def until(condition: Callable[[], bool]) -> None:
    """Return once `condition()` holds; TimeoutError if it never does."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(_PAUSE)


def until_now(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Like `until`, for tests without an event loop."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come about in time")
        time.sleep(_PAUSE)
