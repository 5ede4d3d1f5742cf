"""The lasting tasks of a process: none ends unseen."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

_log = structlog.get_logger(__name__)

AGAIN_SECONDS: Final = 5.0  # until a task that ended by an error begins again


def keep(work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
    """Run what `work` makes until it is cancelled, and again after an error, which is logged.

    Without the task, such as that which takes over the list or looks at the disk, the process would
    seem well and judge by what is long past; to end the process would break its sessions off.
    """
    return asyncio.create_task(_keep(work))


async def _keep(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        try:
            await work()
        except Exception:
            # Whatever it was: an error that nobody awaits would be told of by nobody.
            _log.exception("process.fault", again_seconds=AGAIN_SECONDS)
        else:
            return
        await asyncio.sleep(AGAIN_SECONDS)
