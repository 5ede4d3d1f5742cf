"""Check that the database is fit for mail, at the start of each process and in the commands.

The conditions are in `mailstore.db_checks.fitness` and `mailstore.db_checks.schema_rights`; this
module gives them the tables.
"""

from collections.abc import Iterator
from typing import Final

from mailstore.db import audit_schema, folder_schema, people_schema, summary_schema, team_schema
from mailstore.db.database import Database
from mailstore.db.schema import metadata
from mailstore.db_checks.fitness import check_database, check_migrating
from mailstore.db_checks.promises import promises
from mailstore.db_checks.schema_rights import check_rights, check_schema
from relay.machines import schema as machine_schema
from relay.queue import schema as queue_schema

from ...settings.model import Settings
from ..findings import CheckFinding, CheckVerdict
from .schema_revision import REVISION

# The metadata has the relay's tables only after the import of their modules.
assert audit_schema.audit_rows.metadata is metadata  # noqa: S101
assert folder_schema.folders.metadata is metadata  # noqa: S101
assert people_schema.accounts.metadata is metadata  # noqa: S101
assert summary_schema.summaries.metadata is metadata  # noqa: S101
assert team_schema.message_notes.metadata is metadata  # noqa: S101
assert queue_schema.deliveries.metadata is metadata  # noqa: S101
assert machine_schema.machines.metadata is metadata  # noqa: S101

TABLES: Final = tuple(metadata.sorted_tables)


def fit_revision(database: Database) -> str | None:
    """Check the database; returns the revision of its schema, None if it has none.

    Raises UnfitDatabase, StoreUnavailable.
    """
    check_database(database, TABLES)
    check_rights(database, TABLES)
    found = database.schema_revision()
    if found == REVISION:
        check_schema(database, TABLES)
    return found


def check_upgrade(database: Database) -> None:
    """Refuse a migration that would stop half-way, or run in the wrong schema.

    Raises UnfitDatabase, StoreUnavailable.
    """
    check_database(database, TABLES)
    if database.schema_revision() != REVISION:
        check_migrating(database, TABLES)


def doubts(settings: Settings, database: Database) -> list[str]:
    """Doubts about durability settings of the database.  Raises StoreUnavailable."""
    return [
        one.detail
        for one in database_findings(settings, database)
        if one.says is CheckVerdict.DOUBT
    ]


def database_findings(settings: Settings, database: Database) -> Iterator[CheckFinding]:
    """Findings about PostgreSQL for `config check`; none for SQLite.  Raises StoreUnavailable."""
    found = promises(database, alone=not settings.storage.s3.bucket)
    for one in found.doubts:
        yield CheckFinding(
            "database", CheckVerdict.DOUBT, f"{settings.origin}: storage.database: {one}"
        )
    if found.standby:
        yield CheckFinding("database", CheckVerdict.YES, found.standby)
