"""Detached threads: work that may hang runs in a thread that nothing joins at exit.

Python joins the threads of executors, and all non-daemon threads, when a process ends. A thread
that waits for a vanished server would block that end.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

_T = TypeVar("_T")


def run_detached(work: Callable[[], _T], name: str = "aside") -> asyncio.Future[_T]:
    """Run `work` in a detached thread; the future, which may be dropped, gets its result."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[_T] = loop.create_future()

    def say(result: _T | None, error: BaseException | None) -> None:
        if found.done():  # cancelled
            return
        if error is None:
            found.set_result(result)  # type: ignore[arg-type]  # exactly one of the two is set
        else:
            found.set_exception(error)
            found.exception()  # marks the error as retrieved, also for an abandoned future

    def run() -> None:
        result, failed = None, None
        try:
            result = work()
        except BaseException as error:  # passed to the future
            failed = error
        with suppress(RuntimeError):  # the loop is closed already
            loop.call_soon_threadsafe(say, result, failed)

    threading.Thread(target=run, name=name, daemon=True).start()
    return found


async def wait_within(seconds: float, found: asyncio.Future[_T]) -> _T:
    """Return the result of detached work. Raises TimeoutError after `seconds`; the work goes on."""
    await asyncio.wait({found}, timeout=seconds)
    if not found.done():
        raise TimeoutError
    return found.result()
