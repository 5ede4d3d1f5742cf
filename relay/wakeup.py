"""Waking couriers at once when mail is queued, so that they need not look for it all the time.

PostgreSQL tells every machine by NOTIFY, in the transaction that queues.  SQLite has one node: a
FIFO beside the database wakes its courier after the commit, without ever blocking.  A wake-up may
be lost (nobody listens, a connection breaks); the courier looks at the queue now and then anyway.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import URL, Connection, text

_log = structlog.get_logger(__name__)

_CHANNEL: Final = "mssante_queue"
_FIRST_WAIT: Final = 1.0  # seconds until a lost connection is made anew, doubled up to the longest
_LONGEST_WAIT: Final = 30.0


def announce(connection: Connection) -> None:
    """Say in the transaction that queues mail that there is some, once it commits."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"NOTIFY {_CHANNEL}"))


def signal(url: URL) -> None:
    """Say after the commit that mail was queued, where the database itself cannot say it."""
    if url.get_backend_name() != "sqlite":
        return
    # ENXIO: no courier listens.  EAGAIN: it has been told often enough.
    with suppress(OSError):
        fifo = os.open(_fifo(url), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(fifo, b"\n")
        finally:
            os.close(fifo)


async def listen(url: URL, woken: Callable[[], None]) -> None:
    """Call `woken` in the event loop whenever mail was queued, until cancelled."""
    if url.get_backend_name() == "sqlite":
        await _read_fifo(_open_fifo(_fifo(url)), woken)
    else:
        await _hear_notifications(url, woken)


def _fifo(url: URL) -> Path:
    return Path(f"{url.database}-wake")


def _open_fifo(path: Path) -> int:
    if not path.is_fifo():
        path.unlink(missing_ok=True)
        os.mkfifo(path, 0o600)
    # Open for writing too: it then never ends because the last writer has gone.
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


async def _read_fifo(fifo: int, woken: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def told() -> None:
        with suppress(BlockingIOError):
            while len(os.read(fifo, 65_536)) == 65_536:
                pass
        woken()

    loop.add_reader(fifo, told)
    try:
        await loop.create_future()
    finally:
        loop.remove_reader(fifo)
        os.close(fifo)


async def _hear_notifications(url: URL, woken: Callable[[], None]) -> None:
    # Imported here: it would cost every process that uses SQLite.
    import psycopg  # noqa: PLC0415 - see above

    _, parameters = url.get_dialect()().create_connect_args(url)
    wait = _FIRST_WAIT
    while True:
        try:
            connection = await psycopg.AsyncConnection.connect(
                autocommit=True,
                **{
                    "connect_timeout": 10,
                    # Nothing is ever sent on it: only these notice that the other side has gone.
                    "keepalives_idle": 30,
                    "keepalives_interval": 10,
                    "keepalives_count": 3,
                    **parameters,
                },
            )
            async with connection:
                await connection.execute(f"LISTEN {_CHANNEL}")
                wait = _FIRST_WAIT
                woken()  # what was queued while nobody listened
                async for _ in connection.notifies():
                    woken()
        except (psycopg.Error, OSError) as error:
            first_line = next(iter(str(error).splitlines()), type(error).__name__)
            _log.warning("queue.not_listening", detail=first_line)
        await asyncio.sleep(wait)
        wait = min(2 * wait, _LONGEST_WAIT)
