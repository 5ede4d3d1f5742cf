"""PostgreSQL's notifications on a channel, heard on a connection of their own.

The connection is made anew whenever it breaks, and checked when it is silent: a hung host sends
nothing, and its kernel still acknowledges packets.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sqlalchemy import URL

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow
    from psycopg.sql import SQL, Composed

_FIRST_WAIT: Final = 1.0  # seconds until a lost connection is opened again, doubled each time
_LONGEST_WAIT: Final = 30.0
_SILENCE: Final = 60.0  # seconds without a notification, until the server is checked
_ANSWER: Final = 10.0  # timeout of that check, in seconds


async def hear(
    url: URL,
    channel: str,
    *,
    connected: Callable[[], None],
    heard: Callable[[str], None],
    lost: Callable[[str], None],
) -> None:
    """Listen until cancelled; the callbacks are called in the event loop.

    `connected`: from here on every notification is heard; any before may have been missed. `heard`:
    a notification, with its payload. `lost`: the connection is lost or not made, with the reason.
    """
    # Imported here: it would cost time in every process that uses SQLite.
    from psycopg import AsyncConnection, Error  # noqa: PLC0415 - start-up time
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - start-up time
    from psycopg.sql import SQL, Identifier  # noqa: PLC0415 - start-up time

    from mailstore.db.engine.postgresql import connect_parameters, first_line  # noqa: PLC0415 - start-up time

    parameters = make_conninfo("", **connect_parameters(url))
    listen, ping = SQL("LISTEN {}").format(Identifier(channel)), SQL("SELECT 1")
    wait = _FIRST_WAIT
    while True:
        try:
            async with await AsyncConnection.connect(parameters, autocommit=True) as connection:
                await _ask(connection, listen)
                wait = _FIRST_WAIT
                connected()
                while True:
                    async for notification in connection.notifies(timeout=_SILENCE):
                        heard(notification.payload)
                    await _ask(connection, ping)
        except (Error, OSError) as error:
            lost(first_line(error))
        await asyncio.sleep(wait)
        wait = min(2 * wait, _LONGEST_WAIT)


async def _ask(connection: "AsyncConnection[TupleRow]", statement: "SQL | Composed") -> None:
    """Run a statement that costs the server nothing. Raises psycopg.Error, TimeoutError."""
    async with asyncio.timeout(_ANSWER):
        await connection.execute(statement)
