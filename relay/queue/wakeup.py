"""Wake-up: couriers learn at once that mail was queued, without constant polling.

PostgreSQL wakes all machines by NOTIFY, in the transaction that queues.  SQLite serves one machine:
a FIFO beside the database wakes its courier after the commit, and never blocks.  A wake-up may be
lost (no listener, a broken connection): the courier also polls.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import URL, Connection, text

from mailstore.news.notifications import hear

_log = structlog.get_logger(__name__)

_CHANNEL: Final = "mssante_queue"


def notify_in_transaction(connection: Connection) -> None:
    """Announce new mail in the transaction that queues it (PostgreSQL); sent at the commit."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"NOTIFY {_CHANNEL}"))


def notify_after_commit(url: URL) -> None:
    """Announce new mail after the commit, if the database itself cannot (SQLite)."""
    if url.get_backend_name() != "sqlite":
        return
    # ENXIO: no courier listens.  EAGAIN: the FIFO is full of wake-ups.
    with suppress(OSError):
        fifo = os.open(_fifo(url), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(fifo, b"\n")
        finally:
            os.close(fifo)


async def listen(url: URL, woken: Callable[[], None]) -> None:
    """Call `woken` in the event loop at each wake-up, until cancelled."""
    if url.get_backend_name() == "sqlite":
        await _read_fifo(_open_fifo(_fifo(url)), woken)
    else:
        await hear(
            url,
            _CHANNEL,
            connected=woken,  # mail may have been queued while nobody listened
            heard=lambda _: woken(),
            lost=lambda reason: _log.warning("queue.not_listening", detail=reason),
        )


def _fifo(url: URL) -> Path:
    return Path(f"{url.database}-wake")


def _open_fifo(path: Path) -> int:
    if not path.is_fifo():
        path.unlink(missing_ok=True)
        os.mkfifo(path, 0o600)
    # Open for writing too: otherwise the last writer's exit would give EOF.
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
