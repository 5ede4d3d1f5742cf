"""Time by the store's own clock, in SQL: the same for all machines that share a database.

PostgreSQL has a clock. SQLite has only its machine's clock, passed by the caller. The time is part
of the statement, and so costs no round trip.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, literal, type_coerce
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from mailstore.db.schema import UtcTime

SERVER_TIME: Final = "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000000 AS BIGINT)"

_MICROSECOND: Final = timedelta(microseconds=1)


class store_time(FunctionElement[datetime]):  # noqa: N801 - as SQLAlchemy's own functions
    """Microseconds since 1970 at the statement's start; `store_time(now)` is `now` on SQLite."""

    type = UtcTime()
    inherit_cache = True


@compiles(store_time)
def by_caller(element: store_time, compiler: SQLCompiler, **options: Any) -> str:
    """The caller's instant."""
    return compiler.process(element.clauses, **options)


@compiles(store_time, "postgresql")
def by_server(_element: store_time, _compiler: SQLCompiler, **_options: Any) -> str:
    """The database's clock, constant during a statement."""
    return SERVER_TIME


def store_now(now: datetime) -> ColumnElement[datetime]:
    """The store's time; `now` is the caller's."""
    return store_time(literal(now, UtcTime()))


def store_later(now: datetime, by: timedelta) -> ColumnElement[int]:
    """The instant `by` after the store's time, as stored in tables."""
    return type_coerce(store_now(now), BigInteger) + by // _MICROSECOND
