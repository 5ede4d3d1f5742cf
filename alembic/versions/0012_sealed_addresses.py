"""Progress of the job that seals patients' addresses in rows from before they were sealed."""

import sqlalchemy as sa
from alembic import op

from mailstore.db.schema import UtcTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a table; the rows are sealed by the daemon (operator/jobs/row_sealing.py)."""
    op.create_table(
        "row_sealing",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("finished_at", UtcTime, nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_row_sealing")),
    )


def downgrade() -> None:
    """Remove the table; sealed addresses stay sealed, and an older version cannot read them."""
    op.drop_table("row_sealing")
