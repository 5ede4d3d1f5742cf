"""The quota of a mailbox.

The column is added in place: a table rebuilt on SQLite would lose the trigger of 0001.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, without a quota for any mailbox."""
    # Alembic would add the constraint by a statement that SQLite does not have.
    op.execute(
        "ALTER TABLE mailboxes ADD COLUMN quota BIGINT"
        " CONSTRAINT ck_mailboxes_quota_not_negative CHECK (quota >= 0)"
    )


def downgrade() -> None:
    """Drop the column, with the quotas in it."""
    op.drop_column("mailboxes", "quota")
