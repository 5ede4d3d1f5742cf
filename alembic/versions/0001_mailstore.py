"""First tables of the mailstore: domains, mailboxes, messages, entries.

Address and type of a mailbox are immutable (DOMAIN §9.33): a trigger refuses a change. A later
migration that rebuilds `mailboxes` on SQLite must create the trigger again, because it is dropped
with the table.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_REFUSAL = "the address and the type of a mailbox never change"


def upgrade() -> None:
    """Create the tables and the trigger."""
    op.create_table(
        "domains",
        sa.Column("id", _ID, sa.Identity(), nullable=False),
        sa.Column("name", sa.String(253), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_domains")),
        sa.UniqueConstraint("name", name=op.f("uq_domains_name")),
        sa.CheckConstraint("name = lower(name)", name=op.f("ck_domains_name_lower_case")),
    )
    op.create_table(
        "mailboxes",
        sa.Column("id", _ID, sa.Identity(), nullable=False),
        sa.Column("domain_id", _ID, nullable=False),
        sa.Column("local_part", sa.String(64), nullable=False),
        sa.Column("address", sa.String(320), nullable=False),
        sa.Column("type", sa.String(3), nullable=False),
        sa.Column("state", sa.String(9), nullable=False),
        sa.Column("identifier_kind", sa.String(9), nullable=False),
        sa.Column("identifier_value", sa.String(14), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mailboxes")),
        sa.ForeignKeyConstraint(
            ["domain_id"], ["domains.id"], name=op.f("fk_mailboxes_domain_id_domains")
        ),
        sa.UniqueConstraint("address", name=op.f("uq_mailboxes_address")),
        sa.CheckConstraint(
            "type IN ('PER', 'ORG', 'APP', 'CAB')", name=op.f("ck_mailboxes_type_known")
        ),
        sa.CheckConstraint(
            "state IN ('active', 'suspended', 'closed')", name=op.f("ck_mailboxes_state_known")
        ),
        sa.CheckConstraint(
            "identifier_kind IN ('RPPS', 'ADELI', 'FINESS', 'SIREN', 'SIRET')",
            name=op.f("ck_mailboxes_identifier_kind_known"),
        ),
    )
    op.create_index(op.f("ix_mailboxes_domain_id"), "mailboxes", ["domain_id"])
    op.create_table(
        "messages",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("blob", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("trace", sa.Text(), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.CheckConstraint("length(id) = 32", name=op.f("ck_messages_id_length")),
        sa.CheckConstraint("length(blob) = 64", name=op.f("ck_messages_blob_length")),
        sa.CheckConstraint("size >= 0", name=op.f("ck_messages_size_not_negative")),
    )
    op.create_table(
        "entries",
        sa.Column("id", _ID, sa.Identity(), nullable=False),
        sa.Column("mailbox_id", _ID, nullable=False),
        sa.Column("message_id", sa.String(32), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("delivered_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entries")),
        sa.ForeignKeyConstraint(
            ["mailbox_id"], ["mailboxes.id"], name=op.f("fk_entries_mailbox_id_mailboxes")
        ),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_entries_message_id_messages")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_entries_mailbox_id_id"), "entries", ["mailbox_id", "id"])
    op.create_index(op.f("ix_entries_message_id"), "entries", ["message_id"])
    for statement in _TRIGGER[op.get_context().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    """Drop the tables, with all their rows, and the trigger."""
    for table in ("entries", "messages", "mailboxes", "domains"):
        op.drop_table(table)
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION mailboxes_refuse_change()")


_TRIGGER = {
    "sqlite": (
        f"""
        CREATE TRIGGER mailboxes_immutable
        BEFORE UPDATE OF domain_id, local_part, address, type ON mailboxes
        WHEN (OLD.domain_id, OLD.local_part, OLD.address, OLD.type)
             <> (NEW.domain_id, NEW.local_part, NEW.address, NEW.type)
        BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END
        """,
    ),
    "postgresql": (
        f"""
        CREATE FUNCTION mailboxes_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '{_REFUSAL}' USING ERRCODE = 'integrity_constraint_violation';
        END $$
        """,
        """
        CREATE TRIGGER mailboxes_immutable
        BEFORE UPDATE OF domain_id, local_part, address, type ON mailboxes FOR EACH ROW
        WHEN ((OLD.domain_id, OLD.local_part, OLD.address, OLD.type)
              IS DISTINCT FROM (NEW.domain_id, NEW.local_part, NEW.address, NEW.type))
        EXECUTE FUNCTION mailboxes_refuse_change()
        """,
    ),
}
