"""All differences between SQLite and PostgreSQL, and nothing else.

Durability is the same on both: a commit returns when its transaction is on disk. SQLite runs in WAL
mode with synchronous=FULL, which syncs the log at each commit. PostgreSQL's synchronous_commit
stays as the server has it, except that `off` is overridden for our sessions.
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
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler

from mailstore.db.engine.commits import check_standby
from mailstore.db.engine.driver_errors import read_only
from mailstore.db.engine.wal_checkpoint import Checkpoints
from mailstore.db.engine.write_lock import NoLock, WriteLock
from mailstore.errors import StoreUnavailable

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

_Select = TypeVar("_Select", bound=Select[Any])

# SQLite assigns row numbers by itself only in a column of type INTEGER.
BigId = BigInteger().with_variant(Integer(), "sqlite")

BUSY_TIMEOUT = 30.0  # seconds; wait of a writer for another writer, or for a free connection
MIGRATION_LOCK_TIMEOUT = 4.0  # seconds; wait of a migration for a table lock, mail behind it

# "MSSante" in ASCII: any number that is the same for all migration runs.
_MIGRATION_LOCK = 0x4D5353616E7465


def server_clock(connection: Connection) -> datetime | None:
    """Time of the database's machine, aware; None for SQLite, which has no other machine."""
    if connection.dialect.name == "sqlite":
        return None
    found: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return found


def create_engines(url: URL, pool_size: int) -> tuple[Engine, Engine]:
    """Make the engines for writing and for reading; no connection is made yet.

    `pool_size` is the number of connections of this process (SQLite: of its readers). Raises
    StoreUnavailable if SQLite's file can be neither opened nor created, InvalidDatabaseUrl for URL
    options unknown to PostgreSQL.
    """
    if url.get_backend_name() == "sqlite":
        return _sqlite_engines(url, pool_size)
    # Imported here: psycopg would cost time in every process that uses SQLite.
    from mailstore.db.engine import postgresql  # noqa: PLC0415 - start-up time

    return postgresql.create_engines(url, pool_size, BUSY_TIMEOUT)


def write_lock_of(url: URL) -> WriteLock | NoLock:
    """Return the write lock of a database."""
    if url.get_backend_name() == "sqlite":
        return WriteLock(Path(f"{url.database}-turn"), BUSY_TIMEOUT)
    return NoLock()


def checkpoints_of(url: URL, reader: Engine, turn: WriteLock | NoLock) -> Checkpoints | None:
    """Return the process's checkpoints of a SQLite database; None for PostgreSQL."""
    if url.get_backend_name() != "sqlite":
        return None

    @contextlib.contextmanager
    def lend() -> Iterator[sqlite3.Connection]:
        # query_only does not prevent checkpoints.
        with contextlib.closing(reader.raw_connection()) as pooled:
            yield cast("sqlite3.Connection", pooled.driver_connection)

    return Checkpoints(Path(str(url.database)), lend, turn)


def rows_changed(connection: Connection) -> int:
    """Rows changed by the connection since it was made, if SQLite; else 0."""
    driver = connection.connection.driver_connection
    return driver.total_changes if isinstance(driver, sqlite3.Connection) else 0


def _sqlite_engines(url: URL, pool_size: int) -> tuple[Engine, Engine]:
    _create_private_file(Path(str(url.database)))

    def engine(size: int) -> Engine:
        made = create_engine(
            url,
            hide_parameters=True,  # errors go to logs and must quote no address or body
            connect_args={"timeout": BUSY_TIMEOUT},
            pool_size=size,
            max_overflow=0,
            pool_timeout=BUSY_TIMEOUT,
        )
        made.dialect.statement_compiler = _SqliteCompiler
        return made

    # A single writing connection: threads of the process queue for it and are woken in turn, while
    # SQLite's own busy handler would sleep and poll.
    writer, reader = engine(1), engine(pool_size)

    @event.listens_for(writer, "connect")
    @event.listens_for(reader, "connect")
    def prepare(connection: "DBAPIConnection", _record: "ConnectionPoolEntry") -> None:
        # None leaves BEGIN to us: the sqlite3 module begins late, and only for some statements.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA wal_autocheckpoint=0")  # see mailstore.db.engine.wal_checkpoint
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(reader, "connect")
    def forbid_writing(connection: "DBAPIConnection", _record: "ConnectionPoolEntry") -> None:
        # A read transaction that starts to write fails at once if another writer was faster.
        connection.execute("PRAGMA query_only=ON")

    @event.listens_for(writer, "begin")
    def begin_writing(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    @event.listens_for(reader, "begin")
    def begin_reading(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return writer, reader


def _create_private_file(path: Path) -> None:
    # SQLite would make the file readable by all; WAL and shared memory take its mode. An existing
    # file is not opened: closing it would drop SQLite's locks for the process's other connections,
    # and another process that closes last would remove the WAL under them
    # (https://www.sqlite.org/howtocorrupt.html §2.2).
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


def probe_writing(writer: Engine, table: Table, timeout: float) -> None:
    """Acquire the lock for a write to `table`, and release it. Raises StoreUnavailable.

    SQLite: on a separate connection, since a writer of this process may have the pool's.
    """
    if writer.dialect.name != "sqlite":
        name = writer.dialect.identifier_preparer.format_table(table)
        with writer.begin() as connection:
            # A role without write access gets this lock too, so read-only is checked first.
            reads_only = connection.scalar(
                text(
                    "SELECT current_setting('transaction_read_only')::bool"
                    " FROM set_config('lock_timeout', :patience, true)"
                ),
                {"patience": str(round(timeout * 1000))},
            )
            if reads_only:
                raise StoreUnavailable(read_only(connection))
            check_standby(connection)
            connection.execute(text(f"LOCK TABLE {name} IN ROW EXCLUSIVE MODE"))
        return
    path = str(writer.url.database)
    # A missing file is not created: an empty database would hide the loss.
    existing = f"file:{quote(path)}?mode=rw"
    try:
        with contextlib.closing(
            sqlite3.connect(existing, timeout=timeout, isolation_level=None, uri=True)
        ) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
            raise StoreUnavailable(
                f"another program has held the write lock of {path} for {timeout:g} seconds; "
                f"find it: fuser {shlex.quote(path)}"
            ) from error
        raise StoreUnavailable(f"the database {path} takes no writes: {error}") from error


def placeholder(connection: Connection, *, octets: bool) -> str:
    """Placeholder of a value (`octets`: of octets) in SQL for the driver."""
    if connection.dialect.name == "sqlite":
        return "?"
    return "%b" if octets else "%s"  # psycopg would send octets as text of twice the length


def insert_or_ignore(connection: Connection, table: Table) -> "postgresql.Insert | sqlite.Insert":
    """Start an INSERT that leaves an existing row unchanged, whatever the constraint.

    Unlike a caught violation, it does not abort the transaction on PostgreSQL.
    """
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


def overwrite_deleted(connection: Connection) -> None:
    """Let SQLite fill with zeros what this connection deletes from now on, on its free pages too.

    For content that must not stay readable in the file. Elsewhere nothing: PostgreSQL's vacuum
    frees the room (docs/mailboxes.md).
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete=ON")


def skip_locked(statement: _Select) -> _Select:
    """Lock the selected rows until the transaction ends; skip rows locked by others.

    SQLAlchemy omits this on SQLite, where the only writer holds all rows.
    """
    return statement.with_for_update(skip_locked=True)


def not_by_index(column: ColumnElement[str]) -> ColumnElement[str]:
    """The value of a column, written so that no index on it is used.

    For conditions on rows selected by key: SQLite does not know how many rows share a value and may
    read all of them instead.
    """
    return column.concat("")


def by_index(statement: _Select, table: Table, index: str) -> _Select:
    """The statement, with an index of the table prescribed on SQLite; a missing one is an error.

    For partial indexes: between one of them and an index on the same columns of all rows, SQLite
    decides by which was made last. PostgreSQL knows their sizes.
    """
    return statement.with_hint(table, f"INDEXED BY {index}", "sqlite")


class _SqliteCompiler(SQLiteCompiler):
    """Writes the index that `by_index` prescribes; SQLAlchemy leaves such hints out on SQLite."""

    def get_from_hint_text(self, table: object, text: str | None) -> str | None:  # noqa: ARG002
        """Return the text of the hint on a table."""
        return text


def keep_snapshot(connection: Connection) -> None:
    """Let all statements of a read transaction see one state; call it before the first of them.

    SQLite does so by itself.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))


def disable_statement_timeout(connection: Connection) -> None:
    """Disable the statement timeout for this transaction, which scans whole tables."""
    if connection.dialect.name == "postgresql":
        _disable_postgresql_timeout(connection)
        connection.execute(text("SET LOCAL statement_timeout = 0"))


def _disable_postgresql_timeout(connection: Connection) -> None:
    from mailstore.db.engine import postgresql  # noqa: PLC0415 - start-up time

    postgresql.disable_statement_timeout(connection)


@contextlib.contextmanager
def exclusive_migration(connection: Connection) -> Iterator[None]:
    """Run a single migration at a time; others wait up to a minute.

    SQLite: the whole run is a write transaction. PostgreSQL: an advisory lock is held around the
    run, and each migration is its own transaction. A migration that waits longer than
    MIGRATION_LOCK_TIMEOUT for a table lock fails, since all later statements would wait behind it.
    """
    if connection.dialect.name == "sqlite":
        with connection.begin():
            yield
        return
    _disable_postgresql_timeout(connection)
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
