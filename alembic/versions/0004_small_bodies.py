"""Small bodies beside their messages, and a change counter of mailboxes.

On PostgreSQL bodies are stored without compression, which is useless on encrypted data.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create both tables, the second with its single row."""
    op.create_table(
        "bodies",
        sa.Column("blob", sa.LargeBinary(32), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("blob", name=op.f("pk_bodies")),
        sa.CheckConstraint("length(blob) = 32", name=op.f("ck_bodies_blob_length")),
    )
    if op.get_context().dialect.name == "postgresql":
        op.execute("ALTER TABLE bodies ALTER COLUMN sealed SET STORAGE EXTERNAL")
    changes = op.create_table(
        "mailbox_changes",
        sa.Column("id", _ID, autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mailbox_changes")),
        sa.CheckConstraint("id = 1", name=op.f("ck_mailbox_changes_one_row")),
    )
    op.bulk_insert(changes, [{"id": 1, "number": 0}])


def downgrade() -> None:
    """Drop both tables, unless bodies would be lost. Raises RuntimeError."""
    if op.get_bind().scalar(sa.text("SELECT 1 FROM bodies LIMIT 1")):
        raise RuntimeError("bodies of messages are in the table `bodies`; it is not dropped")
    op.drop_table("mailbox_changes")
    op.drop_table("bodies")
