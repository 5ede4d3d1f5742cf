"""The queue knows senders, kinds of traffic, holds and what reports were asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the columns, with the senders of what waits already, and the tables."""
    with op.batch_alter_table("deliveries") as table:
        table.add_column(sa.Column("sender", sa.Text(), nullable=False, server_default=""))
        table.add_column(
            sa.Column("traffic", sa.String(6), nullable=False, server_default="person")
        )
        table.add_column(sa.Column("mailbox_type", sa.String(3), nullable=True))
        table.add_column(sa.Column("held", sa.Text(), nullable=True))
        table.add_column(sa.Column("envid", sa.Text(), nullable=True))
        table.add_column(sa.Column("ret", sa.String(4), nullable=True))
        table.add_column(
            sa.Column("delay_told", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        table.create_check_constraint(
            op.f("ck_deliveries_traffic_known"), "traffic IN ('person', 'bulk')"
        )
    op.execute(
        "UPDATE deliveries SET sender = "
        "(SELECT sender FROM messages WHERE messages.id = deliveries.message_id)"
    )
    with op.batch_alter_table("delivery_recipients") as table:
        table.add_column(sa.Column("notify", sa.String(32), nullable=False, server_default=""))
        table.add_column(sa.Column("orcpt", sa.Text(), nullable=True))
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
    """Drop what was added."""
    op.drop_table("hold_rules")
    op.drop_table("destinations")
    with op.batch_alter_table("delivery_recipients") as table:
        table.drop_column("orcpt")
        table.drop_column("notify")
    with op.batch_alter_table("deliveries") as table:
        table.drop_constraint(op.f("ck_deliveries_traffic_known"), type_="check")
        for name in ("delay_told", "ret", "envid", "held", "mailbox_type", "traffic", "sender"):
            table.drop_column(name)
