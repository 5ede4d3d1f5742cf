"""The tests of the relay detect code that blocks the event loop, and no other code."""

import asyncio
from pathlib import Path

from blockbuster import BlockingError

from foundation.journal.files import hours


async def test_a_blocking_call_of_the_relay_is_refused(tmp_path: Path) -> None:
    (tmp_path / "2026-11-30").mkdir()
    loop = asyncio.get_running_loop()
    seen: asyncio.Future[object] = loop.create_future()
    loop.set_exception_handler(lambda _, context: seen.set_result(context["exception"]))
    loop.call_soon(hours, tmp_path)
    assert isinstance(await asyncio.wait_for(seen, 10), BlockingError)


async def test_a_test_may_block(tmp_path: Path) -> None:
    (tmp_path / "2026-11-30").mkdir()
    hours(tmp_path)
