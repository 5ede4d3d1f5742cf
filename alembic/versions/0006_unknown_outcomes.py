"""The queue counts how often a message was sent to its end without a usable answer."""

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
    """Drop it."""
    op.drop_column("deliveries", "unknown_outcomes")
