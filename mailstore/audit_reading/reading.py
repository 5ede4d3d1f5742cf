"""Rows of the audit trail, read page by page whatever somebody has made of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, LargeBinary, Row, Select, String, cast, func, select, type_coerce
from sqlalchemy.exc import OperationalError
from sqlalchemy.types import NullType

from mailstore.audit.tables import sealed_ends, sealed_rows
from mailstore.db.audit_schema import audit_chains, audit_rows
from mailstore.db.database import Database
from mailstore.db.dialect import keep_snapshot
from mailstore.errors import StoreUnavailable

PAGE: Final = 2_000  # rows in memory at once

# SQLite refuses a text that is not UTF-8 as a whole row: its octets are readable all the same.
_OCTETS: Final = tuple(
    type_coerce(cast(audit_rows.c[one.name], LargeBinary), NullType()).label(one.name)
    if isinstance(audit_rows.c[one.name].type, String)
    else one
    for one in sealed_rows
)


@contextmanager
def snapshot(database: Database) -> Iterator[Connection]:
    """A read transaction whose statements all see one state. Raises StoreUnavailable."""
    with database.read() as connection:
        keep_snapshot(connection)
        yield connection


def read_page(
    database: Database, chain: Any, after: Any
) -> tuple[Row[Any] | None, Sequence[Row[Any]]]:
    """Read the ends of a chain and its next rows behind `after`, of one state of the database.

    Raises StoreUnavailable.
    """
    try:
        return _page(database, chain, after, sealed_rows)
    except (OperationalError, StoreUnavailable):
        if database.several:
            raise
        return _page(database, chain, after, _OCTETS)


def chains_with_rows(database: Database) -> Iterator[Any]:
    """Numbers of all chains that have rows. Raises StoreUnavailable."""
    query: Select[Any] = select(func.min(type_coerce(audit_rows.c.chain, NullType())))
    with database.read() as connection:
        found = connection.scalar(query)
    while found is not None:
        yield found
        with database.read() as connection:  # by the index, one step for each chain
            found = connection.scalar(query.where(audit_rows.c.chain > found))


def _page(
    database: Database, chain: Any, after: Any, columns: Sequence[Any]
) -> tuple[Row[Any] | None, Sequence[Row[Any]]]:
    query = select(*columns).where(audit_rows.c.chain == chain)
    if after is not None:
        query = query.where(audit_rows.c.seq > after)
    with snapshot(database) as connection:
        ends = connection.execute(select(*sealed_ends).where(audit_chains.c.id == chain)).first()
        rows = connection.execute(query.order_by(audit_rows.c.seq).limit(PAGE)).all()
    return ends, rows
