"""Whether a connection pooler shares a server's sessions among our transactions.

Settings made by SET and LISTEN belong to a session of the server.  A pooler that gives each
transaction another one (PgBouncer's `pool_mode = transaction`) loses the first and never passes on
the second; one that keeps a session for each connection (`session`) does no harm.
"""

from contextlib import ExitStack
from typing import Final

import psycopg
from sqlalchemy import URL, Connection

from mailstore.db.driver_errors import SHARED_BY_TRANSACTIONS
from mailstore.db.postgresql import Link, connect_parameters, first_line, open_link
from mailstore.errors import StoreUnavailable

_MOST: Final = 4  # further connections that are made at once to find out


def pooled(connection: Connection) -> bool:
    """Whether a program stands between, which tells the number of no process of the server."""
    link = connection.connection.driver_connection
    return isinstance(link, Link) and link.server_session != link.info.backend_pid


def shared_by_transactions(url: URL) -> str:
    """Why the way to a PostgreSQL cannot be used, empty if it can.  Raises StoreUnavailable.

    Without a pooler a connection is told the number of its own server process.  With one, what two
    connections see tells: a process that both of them had, or two that the first had, are shared.
    While the first rests, its process is there to be given; each further connection keeps its own.
    """
    parameters = connect_parameters(url)
    with ExitStack() as stack:
        first = None
        try:
            first = stack.enter_context(open_link(parameters))
            process = first.session()
            first.commit()
            if process == first.info.backend_pid:
                return ""
            for _ in range(_MOST):
                other = stack.enter_context(open_link(parameters))
                if other.session() == process or first.session() != process:
                    return SHARED_BY_TRANSACTIONS
                first.commit()
        except psycopg.Error as error:
            if "statement pooling" in str(error):  # where there are no transactions at all
                return SHARED_BY_TRANSACTIONS
            if first is None or first.closed:
                raise StoreUnavailable(
                    f"the database is unavailable: {first_line(error)}"
                ) from None
            # The pooler has no more sessions to give: it may well be one that keeps them.
    return ""
