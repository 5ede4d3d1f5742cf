"""Detection of a connection pooler that shares server sessions among transactions.

Settings by SET, and LISTEN, belong to a session of the server. A pooler that gives each transaction
another session (PgBouncer's `pool_mode = transaction`) loses the settings and never passes
notifications on. A pooler that keeps a session for each connection (`session`) is harmless.
"""

from contextlib import ExitStack
from typing import Final

import psycopg
from sqlalchemy import URL, Connection

from mailstore.db.engine.driver_errors import SHARED_BY_TRANSACTIONS
from mailstore.db.engine.postgresql import (
    PostgresConnection,
    connect_parameters,
    first_line,
    open_connection,
)
from mailstore.errors import StoreUnavailable

_MAX_CONNECTIONS: Final = 4  # most further connections opened at once for the test


def pooled(connection: Connection) -> bool:
    """True behind a pooler, which never reports the number of the server process."""
    link = connection.connection.driver_connection
    return isinstance(link, PostgresConnection) and link.server_session != link.info.backend_pid


def shared_by_transactions(url: URL) -> str:
    """Return the reason why a PostgreSQL is unusable behind its pooler; '' if usable.

    Raises StoreUnavailable. Without a pooler, a connection reports the number of its own server
    process. With a pooler, two connections are compared: sessions are shared if both had the same
    process, or if the first connection had two. While the first connection rests, its process is
    free for others; each further connection keeps its own.
    """
    parameters = connect_parameters(url)
    with ExitStack() as stack:
        first = None
        try:
            first = stack.enter_context(open_connection(parameters))
            process = first.session()
            first.commit()
            if process == first.info.backend_pid:
                return ""
            for _ in range(_MAX_CONNECTIONS):
                other = stack.enter_context(open_connection(parameters))
                if other.session() == process or first.session() != process:
                    return SHARED_BY_TRANSACTIONS
                first.commit()
        except psycopg.Error as error:
            if "statement pooling" in str(error):  # statement pooling has no transactions at all
                return SHARED_BY_TRANSACTIONS
            if first is None or first.closed:
                raise StoreUnavailable(
                    f"the database is unavailable: {first_line(error)}"
                ) from None
            # The pooler is out of sessions, so it may be one that keeps them.
    return ""
