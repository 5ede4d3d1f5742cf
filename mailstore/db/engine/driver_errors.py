"""Driver errors that mean a faulty database, and their texts.

An error caused by a message's data (a value too long, a character that the database lacks, a
violated constraint) is not such an error: it belongs to the message.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from mailstore.errors import StoreUnavailable

SHARED_BY_TRANSACTIONS: Final = (
    "a connection pooler gives each transaction another session of the server, where settings and "
    "wake-ups are lost; set pool_mode = session for this database (PgBouncer), or give the address "
    "of the server itself"
)

STANDBY: Final = (
    "the database is a standby, which takes no writes; give the address of the primary, or promote "
    "it if the primary is gone: SELECT pg_promote()"
)

# https://www.sqlite.org/rescode.html, primary codes: PERM BUSY LOCKED NOMEM READONLY INTERRUPT
# IOERR CORRUPT FULL CANTOPEN PROTOCOL NOTADB.
_SQLITE_UNWELL = frozenset({3, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 26})

# PostgreSQL appendix A: read-only (a standby), idle in transaction, a statement prepared before its
# table changed, internal error. Operational errors (connection, resources, shutdown, locks) are
# recognised by their Python class.
_SQLSTATE_UNWELL = frozenset({"25006", "25P03", "0A000", "XX000", "XX001", "XX002"})
# Caused by a missing or changed schema, never by data: unknown table, column, function or schema;
# another type or key.
_SQLSTATE_CHANGED = frozenset(
    {"42P01", "42703", "42883", "3F000", "42804", "42846", "42P10", "42809"}
)
_SQLSTATE_NO_RIGHT = "42501"
_OUTDATED: Final = "is its schema up to date? (mssante db upgrade)"
# A prepared statement that is missing, or exists already: the session has changed.
_SQLSTATE_SHARED = frozenset({"26000", "42P05"})


@contextmanager
def unavailable_if_unwell() -> Iterator[None]:
    """Convert driver errors that mean a faulty database into StoreUnavailable.

    Other errors, such as a violated constraint, pass unchanged.
    """
    try:
        yield
    except SQLAlchemyError as error:
        reason = _unwell_reason(error)
        if reason is None:
            raise
        raise StoreUnavailable(f"the database is unavailable: {reason}") from error
    except sqlite3.Error as error:
        # From rows read as the driver's tuples, which SQLAlchemy does not see.
        reason = _sqlite_reason(error)
        if reason is None:
            raise
        raise StoreUnavailable(f"the database is unavailable: {reason}") from error


def _unwell_reason(error: SQLAlchemyError) -> str | None:
    if isinstance(error, PoolTimeout):
        return "no connection became free in time"
    if not isinstance(error, DBAPIError) or error.orig is None:
        return None
    cause = error.orig
    first_line = _first_line(cause)
    if isinstance(cause, sqlite3.Error):
        return _sqlite_reason(cause)
    # psycopg errors are recognised by code: its import would cost each process that uses SQLite.
    sqlstate = getattr(cause, "sqlstate", None) or ""
    if sqlstate in _SQLSTATE_SHARED:
        return f"{first_line}; {SHARED_BY_TRANSACTIONS}"
    if isinstance(error, OperationalError | InterfaceError) or sqlstate in _SQLSTATE_UNWELL:
        return first_line
    if sqlstate == _SQLSTATE_NO_RIGHT:
        return f"{first_line}; give the role its rights (mssante config check names them)"
    return f"{first_line}; {_OUTDATED}" if sqlstate in _SQLSTATE_CHANGED else None


def _sqlite_reason(cause: sqlite3.Error) -> str | None:
    first_line = _first_line(cause)
    if getattr(cause, "sqlite_errorcode", 0) & 0xFF in _SQLITE_UNWELL:
        return first_line
    outdated = first_line.startswith(("no such table", "no such column"))
    return f"{first_line}; {_OUTDATED}" if outdated else None


def _first_line(cause: BaseException) -> str:
    return next(iter(str(cause).splitlines()), type(cause).__name__)


def read_only(connection: Connection) -> str:
    """Reason, for an administrator, why transactions of a PostgreSQL primary are read-only."""
    database = connection.scalar(text("SELECT current_database()"))
    return (
        "the database takes no writes by default_transaction_read_only; once they are meant to go "
        f"on: ALTER DATABASE {database} RESET default_transaction_read_only, for the role or the "
        "server where it is set for them"
    )
