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
import time
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
    make_url,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    DisconnectionError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from mailstore.checkpoint import Checkpoints
from mailstore.commits import hear_warnings
from mailstore.errors import InvalidDatabaseUrl, StoreUnavailable
from mailstore.turn import NoTurn, Turn

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

_Select = TypeVar("_Select", bound=Select[Any])

# SQLite counts rows by itself in a column of type INTEGER only.
BigId = BigInteger().with_variant(Integer(), "sqlite")

BUSY_TIMEOUT = 30.0  # seconds that a writer waits for another one, or for a free connection
REST = 5.0  # seconds unused after which a connection is tried before it is lent
MIGRATION_LOCK_TIMEOUT = 4.0  # seconds that a migration may hold up the mail queued behind it

# "MSSante" in ASCII: any number, as long as every migration run takes the same one.
_MIGRATION_LOCK = 0x4D5353616E7465

# https://www.sqlite.org/rescode.html, primary codes: PERM BUSY LOCKED NOMEM READONLY INTERRUPT
# IOERR CORRUPT FULL CANTOPEN PROTOCOL NOTADB.
_SQLITE_UNWELL = frozenset({3, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 26})

# PostgreSQL appendix A: read-only (a standby), idle in transaction, internal error; the class of
# operational errors (connection, resources, shutdown, locks) is recognised by its Python type.
_SQLSTATE_UNWELL = frozenset({"25006", "25P03", "XX000", "XX001", "XX002"})
_SQLSTATE_NO_SUCH = frozenset({"42P01", "42703"})


def server_clock(connection: Connection) -> datetime | None:
    """The time by the database's own machine, aware; None for SQLite, which has no other."""
    if connection.dialect.name == "sqlite":
        return None
    found: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return found


def parse_url(url: str | Path) -> URL:
    """Read a database URL, or the path of a SQLite file, with the driver filled in.

    A path is never pasted into a URL: in one, `?`, `#` and `%41` mean something.
    Raises InvalidDatabaseUrl.
    """
    if isinstance(url, Path):
        return URL.create("sqlite+pysqlite", database=str(url.absolute()))
    expected = "expected sqlite:///PATH or postgresql://USER@HOST/DATABASE"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The text itself may hold a password, and is not repeated.
        raise InvalidDatabaseUrl(f"the database URL cannot be read: {expected}") from None
    match parsed.drivername:
        case "sqlite" | "sqlite+pysqlite":
            if parsed.database in {None, "", ":memory:"}:
                raise InvalidDatabaseUrl(f"{url!r} names no file: {expected}")
            if "?" in url:
                raise InvalidDatabaseUrl(
                    f"{url!r}: SQLite takes no options; in a path write ? as %3F and % as %25, or "
                    "leave the URL empty for the file in the storage folder"
                )
            return parsed.set(drivername="sqlite+pysqlite")
        case "postgresql" | "postgresql+psycopg":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise InvalidDatabaseUrl(f"{other!r} is not a database we take: {expected}")


def create_engines(url: URL, pool_size: int) -> tuple[Engine, Engine]:
    """Make the engines for writing and for reading; no connection is made yet.

    `pool_size` is the number of connections of this process (SQLite: of its readers). Raises
    StoreUnavailable where SQLite's file can be neither opened nor created.
    """
    if url.get_backend_name() == "sqlite":
        return _sqlite_engines(url, pool_size)
    return _postgresql_engines(url, pool_size)


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
        connection.execute("PRAGMA wal_autocheckpoint=0")  # see mailstore.checkpoint
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


def _postgresql_engines(url: URL, pool_size: int) -> tuple[Engine, Engine]:
    writer = create_engine(
        url,
        hide_parameters=True,
        connect_args={"connect_timeout": 10, "tcp_user_timeout": 30_000},
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=BUSY_TIMEOUT,
    )
    _ping_after_rest(writer)

    @event.listens_for(writer, "connect")
    def prepare(connection: "DBAPIConnection", record: "ConnectionPoolEntry") -> None:
        hear_warnings(connection, record)
        # By SET rather than by start-up options, which connection poolers drop.
        connection.autocommit = True
        connection.execute(
            "SELECT set_config('timezone', 'UTC', false),"
            " set_config('statement_timeout', '30s', false),"
            " set_config('lock_timeout', '10s', false),"
            " set_config('idle_in_transaction_session_timeout', '60s', false),"
            " set_config('synchronous_commit', CASE current_setting('synchronous_commit')"
            " WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)"
        )
        connection.autocommit = False

    return writer, writer.execution_options(postgresql_readonly=True)


def _ping_after_rest(engine: Engine) -> None:
    """Try a connection that has rested before it is lent: whatever is between may have cut it.

    One in use is known to be well, and is spared the round trip that each loan would cost.
    """

    @event.listens_for(engine, "checkin")
    def note(_connection: object, record: "ConnectionPoolEntry") -> None:
        record.info["rests since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def ping(connection: "DBAPIConnection", record: "ConnectionPoolEntry", _proxy: object) -> None:
        now = time.monotonic()
        if now - record.info.get("rests since", now) > REST:
            try:
                engine.dialect.do_ping(connection)
            except engine.dialect.loaded_dbapi.Error as error:
                raise DisconnectionError from error  # the pool makes another one


def probe_writing(writer: Engine, table: Table, patience: float) -> None:
    """Take the lock that a write to `table` needs, and give it back. Raises StoreUnavailable.

    SQLite: by a connection of its own, since a writer of this process may have the one of the pool.
    """
    if writer.dialect.name != "sqlite":
        name = writer.dialect.identifier_preparer.format_table(table)
        with writer.begin() as connection:
            connection.execute(text(f"SET LOCAL lock_timeout = {round(patience * 1000)}"))
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


@contextlib.contextmanager
def unavailable_if_unwell() -> Iterator[None]:
    """Turn a driver error that means "the database is unwell" into StoreUnavailable.

    Others, such as a violated constraint, pass as they are.
    """
    try:
        yield
    except SQLAlchemyError as error:
        reason = _unwell_reason(error)
        if reason is None:
            raise
        raise StoreUnavailable(f"the database is unavailable: {reason}") from error


def _unwell_reason(error: SQLAlchemyError) -> str | None:
    if isinstance(error, PoolTimeout):
        return f"no connection became free within {BUSY_TIMEOUT:g} seconds"
    if not isinstance(error, DBAPIError) or error.orig is None:
        return None
    cause = error.orig
    first_line = next(iter(str(cause).splitlines()), type(cause).__name__)
    if isinstance(cause, sqlite3.Error):
        if getattr(cause, "sqlite_errorcode", 0) & 0xFF in _SQLITE_UNWELL:
            return first_line
        outdated = first_line.startswith(("no such table", "no such column"))
    else:
        # psycopg's, told by its code: importing it here would cost every process that uses SQLite.
        sqlstate = getattr(cause, "sqlstate", None)
        if isinstance(error, OperationalError | InterfaceError) or sqlstate in _SQLSTATE_UNWELL:
            return first_line
        outdated = sqlstate in _SQLSTATE_NO_SUCH
    return f"{first_line}; is its schema up to date? (mssante db upgrade)" if outdated else None


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
        connection.execute(text("SET LOCAL statement_timeout = 0"))


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
