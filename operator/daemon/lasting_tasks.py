"""Background tasks of a process: an error is logged, and the task starts again."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

_log = structlog.get_logger(__name__)

AGAIN_SECONDS: Final = 5.0  # pause before a task that failed starts again


def keep_running(work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
    """Run the coroutine that `work` makes; after an error log it and run a new one.

    Without such a task (reload of the white list, disk guard) the process would seem healthy and
    decide by old data.  Ending the process instead would break its sessions.
    """
    return asyncio.create_task(_keep(work))


async def _keep(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        try:
            await work()
        except Exception:
            # Any error: nobody awaits the task, so the error would be lost.
            _log.exception("process.fault", again_seconds=AGAIN_SECONDS)
        else:
            return
        await asyncio.sleep(AGAIN_SECONDS)
