"""Everything in which SQLite and PostgreSQL differ, and nothing else.

Durability is the same on both: a commit returns when its transaction is on disk. SQLite runs in WAL
mode with synchronous=FULL, which syncs the log at each commit; PostgreSQL's synchronous_commit is
used as the server has it, except that `off` is overridden for our sessions.
"""

import contextlib
import errno
import os
import shlex
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote

from sqlalchemy import (
    URL,
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Integer,
    Select,
    Table,
    create_engine,
    event,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite

from mailstore.db.commits import check_standby
from mailstore.db.driver_errors import read_only
from mailstore.db.wal_checkpoint import Checkpoints
from mailstore.db.write_lock import NoTurn, Turn
from mailstore.errors import StoreUnavailable

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

_Select = TypeVar("_Select", bound=Select[Any])

# SQLite counts rows by itself in a column of type INTEGER only.
BigId = BigInteger().with_variant(Integer(), "sqlite")

BUSY_TIMEOUT = 30.0  # seconds that a writer waits for another one, or for a free connection
MIGRATION_LOCK_TIMEOUT = 4.0  # seconds that a migration may hold up the mail queued behind it

# "MSSante" in ASCII: any number, as long as every migration run takes the same one.
_MIGRATION_LOCK = 0x4D5353616E7465


def server_clock(connection: Connection) -> datetime | None:
    """The time by the database's own machine, aware; None for SQLite, which has no other."""
    if connection.dialect.name == "sqlite":
        return None
    found: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return found


def create_engines(url: URL, pool_size: int) -> tuple[Engine, Engine]:
    """Make the engines for writing and for reading; no connection is made yet.

    `pool_size` is the number of connections of this process (SQLite: of its readers). Raises
    StoreUnavailable where SQLite's file can be neither opened nor created, InvalidDatabaseUrl for
    options of a URL that PostgreSQL does not take.
    """
    if url.get_backend_name() == "sqlite":
        return _sqlite_engines(url, pool_size)
    # Imported where it is used: psycopg would cost every process that uses SQLite.
    from mailstore.db import postgresql  # noqa: PLC0415 - see above

    return postgresql.create_engines(url, pool_size, BUSY_TIMEOUT)


def turn_of(url: URL) -> Turn | NoTurn:
    """What the writers of a database wait for."""
    if url.get_backend_name() == "sqlite":
        return Turn(Path(f"{url.database}-turn"), BUSY_TIMEOUT)
    return NoTurn()


def checkpoints_of(url: URL, reader: Engine, turn: Turn | NoTurn) -> Checkpoints | None:
    """The checkpoints that a process makes of a database, None where it makes them itself."""
    if url.get_backend_name() != "sqlite":
        return None

    @contextlib.contextmanager
    def lend() -> Iterator[sqlite3.Connection]:
        # That it may only query does not keep it from this.
        with contextlib.closing(reader.raw_connection()) as pooled:
            yield cast("sqlite3.Connection", pooled.driver_connection)

    return Checkpoints(Path(str(url.database)), lend, turn)


def rows_changed(connection: Connection) -> int:
    """How many rows the connection has changed since it was made, where SQLite counts them."""
    driver = connection.connection.driver_connection
    return driver.total_changes if isinstance(driver, sqlite3.Connection) else 0


def _sqlite_engines(url: URL, pool_size: int) -> tuple[Engine, Engine]:
    _create_private_file(Path(str(url.database)))

    def engine(size: int) -> Engine:
        return create_engine(
            url,
            hide_parameters=True,  # errors get into logs: they quote no address and no body
            connect_args={"timeout": BUSY_TIMEOUT},
            pool_size=size,
            max_overflow=0,
            pool_timeout=BUSY_TIMEOUT,
        )

    # One writing connection: threads of one process then queue for it and are woken in turn, where
    # SQLite's own busy handler would have them sleep and poll.
    writer, reader = engine(1), engine(pool_size)

    @event.listens_for(writer, "connect")
    @event.listens_for(reader, "connect")
    def prepare(connection: "DBAPIConnection", _record: "ConnectionPoolEntry") -> None:
        # None hands BEGIN to us: the sqlite3 module would issue it late, and for some statements.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA wal_autocheckpoint=0")  # see mailstore.db.wal_checkpoint
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(reader, "connect")
    def forbid_writing(connection: "DBAPIConnection", _record: "ConnectionPoolEntry") -> None:
        # A read that turns into a write half-way fails at once when another writer was faster.
        connection.execute("PRAGMA query_only=ON")

    @event.listens_for(writer, "begin")
    def begin_writing(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    @event.listens_for(reader, "begin")
    def begin_reading(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return writer, reader


def _create_private_file(path: Path) -> None:
    # SQLite would make it readable by all; its WAL and shared memory take the rights of this file.
    # One that exists is not opened: to close it again would drop the locks that SQLite holds on it
    # for this process's other connections, and another process that is the last to close would then
    # remove the WAL under them (https://www.sqlite.org/howtocorrupt.html §2.2).
    problem = None
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if path.is_dir():
            problem = os.strerror(errno.EISDIR)
        elif not os.access(path, os.R_OK | os.W_OK):
            problem = os.strerror(errno.EACCES)
    except OSError as error:
        problem = error.strerror
    if problem is not None:
        raise StoreUnavailable(f"cannot open the database {path}: {problem}")


def probe_writing(writer: Engine, table: Table, patience: float) -> None:
    """Take the lock that a write to `table` needs, and give it back. Raises StoreUnavailable.

    SQLite: by a connection of its own, since a writer of this process may have the one of the pool.
    """
    if writer.dialect.name != "sqlite":
        name = writer.dialect.identifier_preparer.format_table(table)
        with writer.begin() as connection:
            # The lock alone is given to those who may not write, too.
            reads_only = connection.scalar(
                text(
                    "SELECT current_setting('transaction_read_only')::bool"
                    " FROM set_config('lock_timeout', :patience, true)"
                ),
                {"patience": str(round(patience * 1000))},
            )
            if reads_only:
                raise StoreUnavailable(read_only(connection))
            check_standby(connection)
            connection.execute(text(f"LOCK TABLE {name} IN ROW EXCLUSIVE MODE"))
        return
    path = str(writer.url.database)
    # A file that has gone is not made anew: an empty database in its place would hide the loss.
    existing = f"file:{quote(path)}?mode=rw"
    try:
        with contextlib.closing(
            sqlite3.connect(existing, timeout=patience, isolation_level=None, uri=True)
        ) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
            raise StoreUnavailable(
                f"another program has held the write lock of {path} for {patience:g} seconds; "
                f"find it: fuser {shlex.quote(path)}"
            ) from error
        raise StoreUnavailable(f"the database {path} takes no writes: {error}") from error


def placeholder(connection: Connection, *, octets: bool) -> str:
    """What stands for a value, or for one of octets, in SQL handed to the driver as it is."""
    if connection.dialect.name == "sqlite":
        return "?"
    return "%b" if octets else "%s"  # psycopg sends octets as twice as many digits unless told


def insert_or_ignore(connection: Connection, table: Table) -> "postgresql.Insert | sqlite.Insert":
    """Start an INSERT that leaves a row alone which exists already, whatever the constraint.

    Unlike a caught violation, it does not abort the transaction on PostgreSQL.
    """
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


def skip_locked(statement: _Select) -> _Select:
    """Lock the selected rows until the transaction ends, passing over those locked by others.

    On SQLite SQLAlchemy writes nothing for it, rightly: the one writer holds all rows.
    """
    return statement.with_for_update(skip_locked=True)


def not_by_index(column: ColumnElement[str]) -> ColumnElement[str]:
    """The value of a column, so written that no index is used to look for it.

    For conditions on rows that are named by their keys: SQLite, which does not know how many rows
    share a value, may read all of those instead.
    """
    return column.concat("")


def take_your_time(connection: Connection) -> None:
    """Let the statements of this transaction take as long as they need: it walks whole tables."""
    if connection.dialect.name == "postgresql":
        _be_patient(connection)
        connection.execute(text("SET LOCAL statement_timeout = 0"))


def _be_patient(connection: Connection) -> None:
    from mailstore.db import postgresql  # noqa: PLC0415 - as above

    postgresql.be_patient(connection)


@contextlib.contextmanager
def exclusive_migration(connection: Connection) -> Iterator[None]:
    """Let one migration run at a time, others waiting up to a minute.

    SQLite: the whole run is one write transaction. PostgreSQL: an advisory lock is held around the
    run, each migration is a transaction of its own, and one that would wait longer for the lock of
    a table than MIGRATION_LOCK_TIMEOUT fails, since whatever comes after it would wait as well.
    """
    if connection.dialect.name == "sqlite":
        with connection.begin():
            yield
        return
    _be_patient(connection)
    connection.execute(text("SET statement_timeout = '60s'"))
    connection.execute(text("SET lock_timeout = 0"))
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _MIGRATION_LOCK})
    connection.execute(text(f"SET lock_timeout = {round(MIGRATION_LOCK_TIMEOUT * 1000)}"))
    connection.commit()
    try:
        yield
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _MIGRATION_LOCK})
        connection.commit()
