"""Queue columns for sender, traffic class, hold and requested reports; destinations; hold rules.

Columns are added in place: a table rebuilt on SQLite would lose AUTOINCREMENT, and cannot be
rebuilt while recipients refer to its rows.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LANES = "ix_deliveries_traffic_domain_sender_due_id"


def upgrade() -> None:
    """Add the columns, with the senders of waiting mail, and the tables."""
    for column in (
        sa.Column("sender", sa.Text(), nullable=False, server_default=""),
        sa.Column("mailbox_type", sa.String(3), nullable=True),
        sa.Column("held", sa.Text(), nullable=True),
        sa.Column("envid", sa.Text(), nullable=True),
        sa.Column("ret", sa.String(4), nullable=True),
        sa.Column("delay_told", sa.Boolean(), nullable=False, server_default=sa.false()),
    ):
        op.add_column("deliveries", column)
    # SQLite lacks the statement by which Alembic would add the constraint.
    op.execute(
        "ALTER TABLE deliveries ADD COLUMN traffic VARCHAR(6) DEFAULT 'person' NOT NULL"
        " CONSTRAINT ck_deliveries_traffic_known CHECK (traffic IN ('person', 'bulk'))"
    )
    op.execute(
        "UPDATE deliveries SET sender = "
        "(SELECT sender FROM messages WHERE messages.id = deliveries.message_id)"
    )
    waits = sa.text("state = 'waiting' AND held IS NULL")
    op.create_index(
        _LANES,
        "deliveries",
        ["traffic", "domain", "sender", "due", "id"],
        sqlite_where=waits,
        postgresql_where=waits,
    )
    op.add_column(
        "delivery_recipients",
        sa.Column("notify", sa.String(32), nullable=False, server_default=""),
    )
    op.add_column("delivery_recipients", sa.Column("orcpt", sa.Text(), nullable=True))
    op.create_table(
        "destinations",
        sa.Column("domain", sa.String(253), nullable=False),
        sa.Column("paused", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("dead_until", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("domain", name=op.f("pk_destinations")),
    )
    op.create_table(
        "hold_rules",
        sa.Column("id", _ID, sa.Identity(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=True),
        sa.Column("sender", sa.Text(), nullable=True),
        sa.Column("recipient", sa.Text(), nullable=True),
        sa.Column("mailbox_type", sa.String(3), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hold_rules")),
    )


def downgrade() -> None:
    """Drop the added tables and columns."""
    op.drop_table("hold_rules")
    op.drop_table("destinations")
    op.drop_column("delivery_recipients", "orcpt")
    op.drop_column("delivery_recipients", "notify")
    op.drop_index(_LANES, "deliveries")
    for name in ("traffic", "delay_told", "ret", "envid", "held", "mailbox_type", "sender"):
        op.drop_column("deliveries", name)
