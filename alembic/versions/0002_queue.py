"""The outbound queue: deliveries and their recipients."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "deliveries",
        sa.Column("id", _ID, sa.Identity(), nullable=False),
        sa.Column("message_id", sa.String(32), nullable=False),
        sa.Column("domain", sa.String(253), nullable=False),
        sa.Column("state", sa.String(9), nullable=False),
        sa.Column("smtputf8", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("lease_owner", sa.String(100), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_deliveries_message_id_messages")
        ),
        sa.CheckConstraint(
            "state IN ('waiting', 'failed')", name=op.f("ck_deliveries_state_known")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_deliveries_message_id"), "deliveries", ["message_id"])
    op.create_index(op.f("ix_deliveries_state_due_id"), "deliveries", ["state", "due", "id"])
    op.create_table(
        "delivery_recipients",
        sa.Column("id", _ID, sa.Identity(), nullable=False),
        sa.Column("delivery_id", _ID, nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("state", sa.String(9), nullable=False),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery_recipients")),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["deliveries.id"],
            name=op.f("fk_delivery_recipients_delivery_id_deliveries"),
        ),
        sa.CheckConstraint(
            "state IN ('waiting', 'delivered', 'failed')",
            name=op.f("ck_delivery_recipients_state_known"),
        ),
    )
    op.create_index(
        op.f("ix_delivery_recipients_delivery_id"), "delivery_recipients", ["delivery_id"]
    )


def downgrade() -> None:
    """Drop the tables, with the waiting mail in them."""
    op.drop_table("delivery_recipients")
    op.drop_table("deliveries")
