"""The quota of a mailbox.

The column is added in place: a table rebuilt on SQLite would lose the trigger of 0001.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; no mailbox has a quota."""
    # SQLite lacks the statement by which Alembic would add the constraint.
    op.execute(
        "ALTER TABLE mailboxes ADD COLUMN quota BIGINT"
        " CONSTRAINT ck_mailboxes_quota_not_negative CHECK (quota >= 0)"
    )


def downgrade() -> None:
    """Drop the column, with the quotas in it."""
    op.drop_column("mailboxes", "quota")
