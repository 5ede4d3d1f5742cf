"""Checks that a PostgreSQL has the migrations' tables, and the role its rights on them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Column, Connection, Row, Table
from sqlalchemy.dialects import postgresql

from mailstore.db.database import Database
from mailstore.db_checks.catalogue import COLUMNS, SESSION, TABLES, quoted
from mailstore.errors import UnfitDatabase

_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
_PUT_BACK = "put the database back from its last backup, or the table from it"


def check_schema(database: Database, tables: Sequence[Table]) -> None:
    """Refuse a schema that differs from the migrations' result.

    Reports the first finding. Raises UnfitDatabase, StoreUnavailable.
    """
    if database.url.get_backend_name() == "sqlite":
        return
    with database.read() as connection:
        for problem in _changes(connection, tables):
            raise UnfitDatabase(problem)


def check_rights(database: Database, tables: Iterable[Table]) -> None:
    """Refuse a role that may not read and write the existing tables.

    Raises UnfitDatabase, StoreUnavailable.
    """
    if database.url.get_backend_name() == "sqlite":
        return
    with database.read() as connection:
        problem = _lacking_right(connection, tables)
    if problem:
        raise UnfitDatabase(problem)


def _changes(connection: Connection, tables: Sequence[Table]) -> Iterator[str]:
    names = {"names": [table.name for table in tables]}
    seen = {one.name: one for one in connection.execute(TABLES, names) if one.visible}
    columns: dict[str, list[Row[Any]]] = {}
    for column in connection.execute(COLUMNS, names):
        columns.setdefault(column.table, []).append(column)
    for table in tables:
        if table.name not in seen:
            yield f"the table {table.name} is missing, with all that it held; {_PUT_BACK}"
            continue
        yield from _changed(table, columns[table.name])
        if seen[table.name].unlogged:
            yield (
                f"the table {table.name} is unlogged: a crash of PostgreSQL empties it; "
                f"run: ALTER TABLE {table.name} SET LOGGED"
            )
        if seen[table.name].filtered:
            yield (
                f"row-level security hides rows of {table.name}; "
                f"run: ALTER TABLE {table.name} DISABLE ROW LEVEL SECURITY"
            )


def _changed(table: Table, columns: Sequence[Row[Any]]) -> Iterator[str]:
    types = {column.name: column.type for column in columns}
    for ours in table.columns:
        if ours.name not in types:
            yield f"the table {table.name} lacks the column {ours.name}; {_PUT_BACK}"
        elif not _holds(_type(ours), types[ours.name]):
            yield (
                f"the column {table.name}.{ours.name} is {types[ours.name]}, and has to hold "
                f"{_type(ours)}; run: ALTER TABLE {table.name} ALTER {ours.name} TYPE {_type(ours)}"
            )
    for column in columns:
        if column.demanded and column.name not in table.columns:
            yield (
                f"the column {table.name}.{column.name} is not of this version, and demands a "
                f"value; run: ALTER TABLE {table.name} ALTER {column.name} DROP NOT NULL"
            )


def _type(column: Column[Any]) -> str:
    """The type of a column, as written in PostgreSQL's catalogue."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's
    return column.type.compile(dialect).lower().replace("varchar", "character varying")


def _holds(wanted: str, there: str) -> bool:
    """True if a column of type `there` holds all values of type `wanted`."""
    if wanted == there or (wanted, there) == ("integer", "bigint"):
        return True
    size = there.removeprefix("character varying").strip("()")
    if there.startswith("character varying") and wanted.startswith("character varying("):
        return not size or int(size) >= int(wanted.removeprefix("character varying").strip("()"))
    return there in {"text", "character varying"} and wanted.startswith(("text", "character"))


def _lacking_right(connection: Connection, tables: Iterable[Table]) -> str:
    session = connection.execute(SESSION).one()
    names = {"names": [*(table.name for table in tables), "alembic_version"]}
    lacking: dict[str, list[str]] = {}
    schema = ""
    for one in connection.execute(TABLES, names):
        if one.visible:
            rights = _RIGHTS[:1] if one.name == "alembic_version" else _RIGHTS
            for right in rights:
                if not getattr(one, right):
                    schema = one.schema
                    lacking.setdefault(right, []).append(one.name)
    if not lacking:
        return ""
    told = "; ".join(f"{right} on {', '.join(names)}" for right, names in lacking.items())
    return (
        f"the role {session.role} lacks rights: {told}; run: GRANT SELECT, INSERT, UPDATE, DELETE "
        f"ON ALL TABLES IN SCHEMA {quoted(schema)} TO {quoted(session.role)}"
    )
