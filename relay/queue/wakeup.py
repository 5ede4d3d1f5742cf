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
from typing import TYPE_CHECKING, Final, LiteralString

import structlog
from sqlalchemy import URL, Connection, text

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

_log = structlog.get_logger(__name__)

_CHANNEL: Final = "mssante_queue"
_FIRST_WAIT: Final = 1.0  # seconds until a lost connection is made anew, doubled up to the longest
_LONGEST_WAIT: Final = 30.0
_SILENCE: Final = 60.0  # seconds without a word after which the server is asked whether it is there
_ANSWER: Final = 10.0  # seconds for it to answer


def notify_in_transaction(connection: Connection) -> None:
    """Say in the transaction that queues mail that there is some, once it commits."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"NOTIFY {_CHANNEL}"))


def notify_after_commit(url: URL) -> None:
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
    from psycopg import AsyncConnection, Error  # noqa: PLC0415 - see above
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - as above

    from mailstore.db.postgresql import connect_parameters, first_line  # noqa: PLC0415 - as above

    parameters = make_conninfo("", **connect_parameters(url))
    wait = _FIRST_WAIT
    while True:
        try:
            async with await AsyncConnection.connect(parameters, autocommit=True) as connection:
                await _ask(connection, f"LISTEN {_CHANNEL}")
                wait = _FIRST_WAIT
                woken()  # what was queued while nobody listened
                while True:
                    async for _ in connection.notifies(timeout=_SILENCE):
                        woken()
                    # A host that hangs says nothing either, and its kernel acknowledges for it.
                    await _ask(connection, "SELECT 1")
        except (Error, OSError) as error:
            _log.warning("queue.not_listening", detail=first_line(error))
        await asyncio.sleep(wait)
        wait = min(2 * wait, _LONGEST_WAIT)


async def _ask(connection: "AsyncConnection[TupleRow]", statement: LiteralString) -> None:
    """Run a statement that costs the server nothing.  Raises psycopg.Error, TimeoutError."""
    async with asyncio.timeout(_ANSWER):
        await connection.execute(statement)
