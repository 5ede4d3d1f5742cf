"""Tenants; attributes, states and aliases of mailboxes; counts of mail sent.

Columns are added in place: a table rebuilt on SQLite would lose the trigger of 0001.
"""

import sqlalchemy as sa
from alembic import op

from mailstore.db.dialect import BigId
from mailstore.db.schema import UtcTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables and columns; every domain belongs to the first tenant, the operator."""
    op.create_table(
        "tenants",
        sa.Column("id", BigId, sa.Identity(), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("title", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.CheckConstraint("name = lower(name)", name=op.f("ck_tenants_name_lower_case")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenants")),
        sa.UniqueConstraint("name", name=op.f("uq_tenants_name")),
    )
    op.bulk_insert(
        sa.table("tenants", sa.column("name"), sa.column("title"), sa.column("created_at")),
        [{"name": "operator", "title": "", "created_at": 0}],
    )
    op.add_column(
        "domains",
        sa.Column("tenant_id", sa.BigInteger(), nullable=False, server_default=sa.text("1")),
    )
    op.add_column("domains", sa.Column("removed_at", UtcTime(), nullable=True))
    op.create_index(op.f("ix_domains_tenant_id"), "domains", ["tenant_id"])
    for column in (
        sa.Column("structure_kind", sa.String(9), nullable=True),
        sa.Column("structure_value", sa.String(14), nullable=True),
        sa.Column("red_list", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("service", sa.Text(), nullable=True),
        sa.Column("responsible", sa.Text(), nullable=True),
        sa.Column("no_reply", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("state_since", UtcTime(), nullable=True),
        sa.Column("state_reason", sa.Text(), nullable=True),
        sa.Column("deleted_at", UtcTime(), nullable=True),
        sa.Column("state_before", sa.String(9), nullable=True),
        sa.Column("erase_after", UtcTime(), nullable=True),
        sa.Column("erased_at", UtcTime(), nullable=True),
        sa.Column("last_login_at", UtcTime(), nullable=True),
    ):
        op.add_column("mailboxes", column)
    # SQLite lacks the statement by which Alembic would add these constraints.
    op.execute(
        "ALTER TABLE mailboxes ADD COLUMN rank INTEGER"
        " CONSTRAINT ck_mailboxes_rank_positive CHECK (rank > 0)"
    )
    op.execute(
        "ALTER TABLE mailboxes ADD COLUMN inbound VARCHAR(6)"
        " CONSTRAINT ck_mailboxes_inbound_known CHECK (inbound IN ('defer', 'refuse'))"
    )
    op.create_index(
        op.f("ix_mailboxes_erase_after"),
        "mailboxes",
        ["erase_after"],
        unique=False,
        sqlite_where=sa.text("erase_after IS NOT NULL"),
        postgresql_where=sa.text("erase_after IS NOT NULL"),
    )
    op.create_index(op.f("ix_mailboxes_identifier_value"), "mailboxes", ["identifier_value"])
    op.drop_index(op.f("ix_mailboxes_domain_id"), "mailboxes")
    op.create_index(op.f("ix_mailboxes_domain_id_address"), "mailboxes", ["domain_id", "address"])
    op.create_table(
        "mailbox_holders",
        sa.Column("mailbox_id", BigId, nullable=False),
        sa.Column("rpps", sa.String(11), nullable=False),
        sa.Column("since", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["mailbox_id"], ["mailboxes.id"], name=op.f("fk_mailbox_holders_mailbox_id_mailboxes")
        ),
        sa.PrimaryKeyConstraint("mailbox_id", "rpps", name=op.f("pk_mailbox_holders")),
    )
    op.create_index(op.f("ix_mailbox_holders_rpps"), "mailbox_holders", ["rpps"])
    op.create_table(
        "aliases",
        sa.Column("id", BigId, sa.Identity(), nullable=False),
        sa.Column("mailbox_id", BigId, nullable=False),
        sa.Column("domain_id", BigId, nullable=False),
        sa.Column("local_part", sa.String(64), nullable=False),
        sa.Column("address", sa.String(320), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("ends_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["domain_id"], ["domains.id"], name=op.f("fk_aliases_domain_id_domains")
        ),
        sa.ForeignKeyConstraint(
            ["mailbox_id"], ["mailboxes.id"], name=op.f("fk_aliases_mailbox_id_mailboxes")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_aliases")),
        sa.UniqueConstraint("address", name=op.f("uq_aliases_address")),
    )
    op.create_index(op.f("ix_aliases_domain_id"), "aliases", ["domain_id"])
    op.create_index(op.f("ix_aliases_mailbox_id"), "aliases", ["mailbox_id"])
    op.create_table(
        "sent_counts",
        sa.Column("mailbox_id", BigId, nullable=False),
        sa.Column("hour", UtcTime(), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("recipients", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False, server_default="0"),
        sa.ForeignKeyConstraint(
            ["mailbox_id"], ["mailboxes.id"], name=op.f("fk_sent_counts_mailbox_id_mailboxes")
        ),
        sa.PrimaryKeyConstraint("mailbox_id", "hour", name=op.f("pk_sent_counts")),
    )
    op.create_index(op.f("ix_sent_counts_hour"), "sent_counts", ["hour"])


def downgrade() -> None:
    """Drop the tables and columns, with all that they hold."""
    op.drop_table("sent_counts")
    op.drop_table("aliases")
    op.drop_table("mailbox_holders")
    op.drop_index(op.f("ix_mailboxes_erase_after"), "mailboxes")
    op.drop_index(op.f("ix_mailboxes_identifier_value"), "mailboxes")
    op.drop_index(op.f("ix_mailboxes_domain_id_address"), "mailboxes")
    op.create_index(op.f("ix_mailboxes_domain_id"), "mailboxes", ["domain_id"])
    op.drop_index(op.f("ix_domains_tenant_id"), "domains")
    for column in (
        "inbound",
        "rank",
        "last_login_at",
        "erased_at",
        "erase_after",
        "state_before",
        "deleted_at",
        "state_reason",
        "state_since",
        "no_reply",
        "responsible",
        "service",
        "red_list",
        "structure_value",
        "structure_kind",
    ):
        op.drop_column("mailboxes", column)
    op.drop_column("domains", "removed_at")
    op.drop_column("domains", "tenant_id")
    op.drop_table("tenants")
