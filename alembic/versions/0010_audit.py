"""The audit trail: chains, rows, anchors."""

import sqlalchemy as sa
from alembic import op

from mailstore.db.dialect import BigId
from mailstore.db.schema import UtcTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "audit_chains",
        sa.Column("id", BigId, autoincrement=False, nullable=False),
        sa.Column("begun_at", UtcTime(), nullable=False),
        sa.Column("floor_seq", sa.BigInteger(), nullable=False),
        sa.Column("floor_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("head_seq", sa.BigInteger(), nullable=False),
        sa.Column("head_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("seal", sa.LargeBinary(32), nullable=False),
        sa.CheckConstraint("floor_seq <= head_seq", name=op.f("ck_audit_chains_floor_below_head")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_chains")),
    )
    op.create_table(
        "audit_state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("chains", sa.BigInteger(), nullable=False),
        sa.Column("anchors", sa.BigInteger(), nullable=False),
        sa.Column("seal", sa.LargeBinary(32), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_state_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_state")),
    )
    op.create_table(
        "audit_rows",
        sa.Column("chain", BigId, autoincrement=False, nullable=False),
        sa.Column("seq", BigId, autoincrement=False, nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("result", sa.String(8), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=True),
        sa.Column("account", sa.Text(), nullable=True),
        sa.Column("unix_user", sa.Text(), nullable=True),
        sa.Column("door", sa.String(16), nullable=False),
        sa.Column("origin", sa.Text(), nullable=True),
        sa.Column("mailbox", sa.Text(), nullable=True),
        sa.Column("message", sa.String(32), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("seal", sa.LargeBinary(32), nullable=False),
        sa.CheckConstraint(
            "result IN ('done', 'refused', 'failed')", name=op.f("ck_audit_rows_result_known")
        ),
        sa.PrimaryKeyConstraint("chain", "seq", name=op.f("pk_audit_rows")),
    )
    op.create_index(op.f("ix_audit_rows_account_at"), "audit_rows", ["account", "at"])
    op.create_index(op.f("ix_audit_rows_at"), "audit_rows", ["at"])
    op.create_index(op.f("ix_audit_rows_mailbox_at"), "audit_rows", ["mailbox", "at"])
    op.create_index(op.f("ix_audit_rows_message"), "audit_rows", ["message"])
    op.create_index(op.f("ix_audit_rows_subject_at"), "audit_rows", ["subject", "at"])
    op.create_table(
        "audit_anchors",
        sa.Column("number", BigId, autoincrement=False, nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("sent_to", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_anchors")),
    )


def downgrade() -> None:
    """Drop the tables, with the audit trail."""
    op.drop_table("audit_anchors")
    op.drop_table("audit_rows")
    op.drop_table("audit_state")
    op.drop_table("audit_chains")
