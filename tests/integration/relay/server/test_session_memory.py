"""The memory of ended sessions is freed at once, without the garbage collector."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from relay.server.session import Session
from tests.support.machines.operators import inbound
from tests.support.sessions.talking import call, dial
from tests.support.waiting import until


@contextmanager
def collector_off() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def sessions() -> int:
    return sum(isinstance(found, Session) for found in gc.get_objects())


def test_nothing_keeps_a_session_that_is_over(tmp_path: Path) -> None:
    async def visits() -> None:
        async with inbound(tmp_path) as server:
            with collector_off():
                before = sessions()
                for _ in range(3):
                    quitting, aborted, broken = (
                        await call(server),
                        await call(server),
                        await dial(server),
                    )
                    assert (await quitting.send()).startswith("250 ")
                    await quitting.say("QUIT")
                    await aborted.begin()
                    await aborted.say("DATA")
                    aborted.writer.transport.abort()
                    await broken.hear()
                    await broken.say("STARTTLS")
                    broken.writer.write(b"no TLS at all, and never will be\r\n" * 10)
                    await broken.reader.read()
                    for caller in (quitting, broken):
                        caller.close()
                await until(lambda: not server.context.connection_counts.sessions)
                await until(lambda: sessions() == before)

    # The daemon's event loop; asyncio's own loop keeps objects of a failed handshake.
    uvloop.run(visits())
