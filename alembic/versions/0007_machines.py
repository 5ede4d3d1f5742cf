"""Several machines: lease tokens, unreadable bodies, tables shared by machines."""

import sqlalchemy as sa
from alembic import op

from mailstore.db.schema import UtcTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns in place, and the tables."""
    op.add_column("deliveries", sa.Column("lease_token", sa.String(32), nullable=True))
    op.add_column(
        "deliveries",
        sa.Column("unreadable", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.create_table(
        "machines",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("proof", sa.String(128), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_machines")),
    )
    op.create_table(
        "shared_list",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("generated_at", UtcTime(), nullable=False),
        sa.Column("adopted_at", UtcTime(), nullable=False),
        sa.Column("checked_at", UtcTime(), nullable=False),
        sa.Column("shrink_accepted", UtcTime(), nullable=True),
        sa.Column("compressed", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_shared_list_one_row")),
        sa.CheckConstraint("length(digest) = 64", name=op.f("ck_shared_list_digest_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shared_list")),
    )
    op.create_table(
        "store_mark",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("mark", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_store_mark_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_store_mark")),
    )


def downgrade() -> None:
    """Drop the added tables and columns."""
    op.drop_table("store_mark")
    op.drop_table("shared_list")
    op.drop_table("machines")
    op.drop_column("deliveries", "unreadable")
    op.drop_column("deliveries", "lease_token")
