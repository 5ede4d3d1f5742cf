"""Queue column: number of attempts sent to the end of the message without a usable answer."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, in place."""
    op.add_column(
        "deliveries",
        sa.Column("unknown_outcomes", sa.Integer(), nullable=False, server_default="0"),
    )


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("deliveries", "unknown_outcomes")
