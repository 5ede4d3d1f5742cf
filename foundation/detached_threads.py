"""Work that may hang is done aside: in a thread that nobody waits for at the end.

Threads of an executor are waited for when a process ends, those of the interpreter's own too; one
that asks a server which has vanished would hold the end up.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

_T = TypeVar("_T")


def aside(work: Callable[[], _T], name: str = "aside") -> asyncio.Future[_T]:
    """The result or error of `work`, once there is one; a caller may stop waiting for it."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[_T] = loop.create_future()

    def say(result: _T | None, error: BaseException | None) -> None:
        if found.done():  # cancelled
            return
        if error is None:
            found.set_result(result)  # type: ignore[arg-type]  # one of both
        else:
            found.set_exception(error)
            found.exception()  # it is seen, whether somebody still waits or not

    def run() -> None:
        result, failed = None, None
        try:
            result = work()
        except BaseException as error:  # handed on
            failed = error
        with suppress(RuntimeError):  # the loop has ended before it
            loop.call_soon_threadsafe(say, result, failed)

    threading.Thread(target=run, name=name, daemon=True).start()
    return found


async def within(seconds: float, found: asyncio.Future[_T]) -> _T:
    """The result of work aside.  Raises TimeoutError after so long, and leaves it to itself."""
    await asyncio.wait({found}, timeout=seconds)
    if not found.done():
        raise TimeoutError
    return found.result()
