"""Requirements of a PostgreSQL that keeps mail, checked before use.

Otherwise messages would meet a database administrator's changes, one after the other. Each finding
is a line that says the command to run. SQLite has no findings.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Row, Table

from mailstore.db.database import Database
from mailstore.db.engine.driver_errors import read_only
from mailstore.db_checks.catalogue import SESSION, TABLES, quoted
from mailstore.errors import StoreUnavailable, UnfitDatabase

# Tables by which a schema of any revision is recognised as ours.
_CORE = {"domains", "mailboxes", "messages", "entries"}


def check_database(database: Database, tables: Sequence[Table]) -> None:
    """Refuse an unusable database, with or without the schema.

    Raises UnfitDatabase; StoreUnavailable for a state that may pass by itself: a standby, a
    read-only database.
    """
    if database.url.get_backend_name() == "sqlite":
        return
    shared = _sharing(database)
    if shared:
        raise UnfitDatabase(shared)
    with database.write() as connection:
        session = connection.execute(SESSION).one()
        if session.encoding != "UTF8":
            raise UnfitDatabase(
                f"the database {session.database} has the encoding {session.encoding}, which does "
                "not hold every address; make one that does, and move its tables there: "
                "createdb --encoding=UTF8 --locale=C --template=template0 NAME"
            )
        if session.reads_only:
            raise StoreUnavailable(read_only(connection))
        found = connection.execute(TABLES, {"names": [table.name for table in tables]}).all()
        if {one.name for one in found} >= _CORE and not any(one.visible for one in found):
            raise UnfitDatabase(_hidden(session, found[0]))


def _hidden(session: Row[Any], table: Row[Any]) -> str:
    role, schema = quoted(session.role), quoted(table.schema)
    if not table.usage:
        return (
            f"the role {session.role} may not use the schema {table.schema}, where the tables are; "
            f"run: GRANT USAGE ON SCHEMA {schema} TO {role}"
        )
    return (
        f"the tables are in the schema {table.schema}, which the search_path ({session.path}) "
        f"hides from the role {session.role}; run: ALTER ROLE {role} SET search_path = {schema}"
    )


def _sharing(database: Database) -> str:
    # Imported only for PostgreSQL: psycopg would cost each process that uses SQLite.
    from mailstore.db_checks import pooler  # noqa: PLC0415 - start-up time

    with database.connect() as connection:
        if not pooler.pooled(connection):
            return ""
    return pooler.shared_by_transactions(database.url)


def check_migrating(database: Database, tables: Iterable[Table]) -> None:
    """Refuse a role that cannot change the schema. Raises UnfitDatabase, StoreUnavailable."""
    if database.url.get_backend_name() == "sqlite":
        return
    with database.read() as connection:
        session = connection.execute(SESSION).one()
        if not session.creates:
            schema = session.schema or "public"
            raise UnfitDatabase(
                f"the role {session.role} may not create tables in the schema {schema}; run the "
                "command with the role that owns the tables, or: "
                f"GRANT USAGE, CREATE ON SCHEMA {quoted(schema)} TO {quoted(session.role)}"
            )
        for one in connection.execute(TABLES, {"names": [table.name for table in tables]}):
            if one.visible and not one.owned:
                raise UnfitDatabase(
                    f"the role {session.role} does not own the table {one.name}; run the command "
                    f"with the role {one.owner}, or: "
                    f"GRANT {quoted(one.owner)} TO {quoted(session.role)}"
                )
