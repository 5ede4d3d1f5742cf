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


def cancel_waiting(server: PostgresServer, database: str, *, end: bool = False) -> None:
    """Wait until a commit waits for the standby; then cancel it, or end its session."""
    where = "FROM pg_stat_activity WHERE datname = %s AND wait_event = 'SyncRep'"
    cancels, ends = (
        f"SELECT pg_cancel_backend(pid) {where}",
        f"SELECT pg_terminate_backend(pid) {where}",
    )
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        statement = (ends if end else cancels).encode()
        until_now(lambda: bool(connection.execute(statement, (database,)).fetchall()))


def cancel_waiting_until(
    server: PostgresServer, database: str, done: Callable[[], bool], patience: float
) -> None:
    """Cancel every commit that waits for the standby, of any process, until `done`."""
    statement = (
        b"SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
        b" WHERE datname = %s AND wait_event = 'SyncRep'"
    )
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:

        def cancelled() -> bool:
            connection.execute(statement, (database,))
            return done()

        until_now(cancelled, patience)
