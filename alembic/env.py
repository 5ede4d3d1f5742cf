"""Alembic's entry point: runs the migrations on the connection of `migrations`.

No alembic.ini and no other entry exist: the caller has opened the connection with its timeouts and
holds the lock of the run.
"""

from alembic import context

from mailstore.db import audit_schema, folder_schema, people_schema, summary_schema, team_schema
from mailstore.db.schema import metadata
from relay.machines import schema as machine_schema
from relay.queue import schema as queue_schema

# The import of these modules adds their tables to the metadata.
assert audit_schema.audit_rows.metadata is metadata  # noqa: S101
assert folder_schema.folders.metadata is metadata  # noqa: S101
assert people_schema.accounts.metadata is metadata  # noqa: S101
assert summary_schema.summaries.metadata is metadata  # noqa: S101
assert team_schema.message_notes.metadata is metadata  # noqa: S101
assert queue_schema.deliveries.metadata is metadata  # noqa: S101
assert machine_schema.machines.metadata is metadata  # noqa: S101

connection = context.config.attributes["connection"]

context.configure(
    connection=connection,
    target_metadata=metadata,
    # On SQLite, the caller's single transaction contains all migrations instead.
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
