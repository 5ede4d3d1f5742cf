"""Bulk insert of rows by few statements, for the group commit.

A statement for each row costs a round trip on PostgreSQL, and on SQLite a release of the GIL, which
other threads grab. Statements have 512, 256 … 32, 16, 15 … 1 rows: the number of rows is part of a
statement's text, and so few texts stay prepared.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, LargeBinary, Table

from foundation.ins import PATIENT_DOMAIN
from mailstore.db.dialect import placeholder
from mailstore.db.sealed_columns import SealedAddress
from mailstore.db.store_time import SERVER_TIME

_SIZES: Final = (512, 256, 128, 64, 32, *range(16, 0, -1))


class BulkInsert:
    """`INSERT INTO table (columns) VALUES …`, ended by `also`, for example an ON CONFLICT clause.

    Addresses are sealed as their columns say. Other values are the driver's: whole microseconds for
    a time (`mailstore.db.schema.microseconds`). The value of the column `used` is raised to the
    time of the store's own clock if there is one (`mailstore.db.store_time`).
    """

    def __init__(
        self, table: Table, columns: Sequence[str], also: str = "", *, used: str = ""
    ) -> None:
        # KeyError for an unknown column.
        self._octets = [isinstance(table.c[name].type, LargeBinary) for name in columns]
        kinds = [table.c[name].type for name in columns]
        self._sealed = [
            (i, kind) for i, kind in enumerate(kinds) if isinstance(kind, SealedAddress)
        ]
        # Only names of the schema; values are never part of the text.
        self._head = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES "  # noqa: S608
        self._also = f" {also}" if also else ""
        self._used = columns.index(used) if used else None
        self._texts: dict[tuple[str, int], str] = {}

    def insert(self, conn: Connection, rows: Sequence[tuple[object, ...]]) -> None:
        """Insert the rows in order, each with a value for every column."""
        for index, kind in self._sealed:
            rows = _sealed(conn, rows, index, kind)
        begin = 0
        for size in _SIZES:
            while len(rows) - begin >= size:
                group = rows[begin : begin + size]
                begin += size
                values = tuple(value for row in group for value in row)
                conn.exec_driver_sql(self._text(conn, size), values)

    def _text(self, conn: Connection, size: int) -> str:
        key = conn.dialect.name, size
        if key not in self._texts:
            values = [placeholder(conn, octets=octets) for octets in self._octets]
            if self._used is not None and conn.dialect.name == "postgresql":
                values[self._used] = f"GREATEST({values[self._used]}, {SERVER_TIME})"
            self._texts[key] = (
                self._head + ", ".join([f"({', '.join(values)})"] * size) + self._also
            )
        return self._texts[key]


def _sealed(
    conn: Connection, rows: Sequence[tuple[object, ...]], index: int, kind: SealedAddress
) -> Sequence[tuple[object, ...]]:
    """The rows with their patients' addresses sealed; the same rows if there are none."""
    # Any in the driver's rows: the columns of addresses hold texts.
    found: Sequence[tuple[Any, ...]] = rows
    if not any(PATIENT_DOMAIN in row[index] or type(row[index]) is not str for row in found):
        return rows
    return [
        (*row[:index], kind.process_bind_param(row[index], conn.dialect), *row[index + 1 :])
        for row in found
    ]
