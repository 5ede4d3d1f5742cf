"""PostgreSQL that waits for a missing synchronous standby, and cancels of that wait."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from tests.support.db.databases import PostgresServer
from tests.support.waiting import until_now


@contextmanager
def nobody_follows(server: PostgresServer) -> Iterator[None]:
    """Let each commit wait for a standby that does not exist."""
    server.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    server.execute("SELECT pg_reload_conf()")
    try:
        until_now(lambda: _shown(server) == "nobody")
        yield
    finally:
        server.execute("ALTER SYSTEM RESET synchronous_standby_names")
        server.execute("SELECT pg_reload_conf()")
        until_now(lambda: _shown(server) == "")


def _shown(server: PostgresServer) -> str:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        row = connection.execute("SHOW synchronous_standby_names").fetchone()
    assert row is not None
    return str(row[0])


def cancel_waiting(
    server: PostgresServer,
    database: str,
    *,
    end: bool = False,
    until: Callable[[], bool] | None = None,
) -> None:
    """Wait until a commit waits for the standby; then cancel it, or end its session.

    `until`: go on with each commit that waits, of any process, until it holds.
    """
    where = "FROM pg_stat_activity WHERE datname = %s AND wait_event = 'SyncRep'"
    cancels, ends = (
        f"SELECT pg_cancel_backend(pid) {where}",
        f"SELECT pg_terminate_backend(pid) {where}",
    )
    statement = (ends if end else cancels).encode()
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:

        def is_done() -> bool:
            cancelled = connection.execute(statement, (database,)).fetchall()
            return bool(cancelled) if until is None else until()

        until_now(is_done)
