"""Alembic's entry: runs the migrations on the connection that `migrations` made.

There is no alembic.ini and no other way in: the caller has opened the connection with its time-outs
and holds the lock of the run.
"""

from alembic import context

from mailstore.db.schema import metadata
from relay.machines import schema as machine_schema
from relay.queue import schema as queue_schema

# The metadata has the relay's tables too, once their modules are imported.
assert queue_schema.deliveries.metadata is metadata  # noqa: S101
assert machine_schema.machines.metadata is metadata  # noqa: S101

connection = context.config.attributes["connection"]

context.configure(
    connection=connection,
    target_metadata=metadata,
    # On SQLite the caller's one transaction is around them all instead.
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
