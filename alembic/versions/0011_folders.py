"""Folders and the state of messages, teams' work, sealed summaries, news, a domain's quota."""

import sqlalchemy as sa
from alembic import op

from mailstore.db.dialect import BigId
from mailstore.db.schema import UtcTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add tables and columns; existing messages get their UIDs when somebody looks."""
    op.create_table(
        "expunged",
        sa.Column("folder_id", BigId, autoincrement=False, nullable=False),
        sa.Column("uid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("mailbox_id", sa.BigInteger(), nullable=False),
        sa.Column("message_id", sa.String(length=32), nullable=False),
        sa.Column("modseq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("folder_id", "uid", name=op.f("pk_expunged")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_expunged_mailbox_id_modseq"), "expunged", ["mailbox_id", "modseq"])
    op.create_table(
        "keywords",
        sa.Column("mailbox_id", BigId, autoincrement=False, nullable=False),
        sa.Column("bit", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("name_hash", sa.LargeBinary(length=16), nullable=False),
        sa.CheckConstraint("bit BETWEEN 0 AND 62", name=op.f("ck_keywords_bit_in_range")),
        sa.PrimaryKeyConstraint("mailbox_id", "bit", name=op.f("pk_keywords")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "mailbox_news",
        sa.Column("mailbox_id", BigId, autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("mailbox_id", name=op.f("pk_mailbox_news")),
    )
    op.create_index(op.f("ix_mailbox_news_number"), "mailbox_news", ["number"])
    op.create_table(
        "seen_by_person",
        sa.Column("entry_id", BigId, autoincrement=False, nullable=False),
        sa.Column("account_id", BigId, autoincrement=False, nullable=False),
        sa.Column("mailbox_id", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.Boolean(), nullable=False),
        sa.Column("modseq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", "account_id", name=op.f("pk_seen_by_person")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_seen_by_person_mailbox_id_account_id_modseq"),
        "seen_by_person",
        ["mailbox_id", "account_id", "modseq"],
    )
    op.create_table(
        "summaries",
        sa.Column("message_id", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_summaries_message_id_messages")
        ),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_summaries")),
    )
    op.create_table(
        "folders",
        sa.Column("id", BigId, sa.Identity(always=False), nullable=False),
        sa.Column("mailbox_id", BigId, nullable=False),
        sa.Column("parent_id", BigId, nullable=True),
        sa.Column("role", sa.String(length=7), nullable=True),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("name_hash", sa.LargeBinary(length=16), nullable=False),
        sa.Column("uid_validity", sa.BigInteger(), nullable=False),
        sa.Column("uid_next", sa.BigInteger(), nullable=False),
        sa.Column("subscribed", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("modseq", sa.BigInteger(), nullable=False),
        sa.Column("messages_modseq", sa.BigInteger(), nullable=False),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.Column("octets", sa.BigInteger(), nullable=False),
        sa.Column("unseen", sa.BigInteger(), nullable=False),
        sa.Column("removed_modseq", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "role IN ('inbox', 'sent', 'drafts', 'trash', 'junk', 'archive')",
            name=op.f("ck_folders_role_known"),
        ),
        sa.CheckConstraint("uid_next > 0", name=op.f("ck_folders_uid_next_positive")),
        sa.ForeignKeyConstraint(
            ["mailbox_id"], ["mailboxes.id"], name=op.f("fk_folders_mailbox_id_mailboxes")
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["folders.id"], name=op.f("fk_folders_parent_id_folders")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_folders")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_folders_mailbox_id_name_hash"), "folders", ["mailbox_id", "name_hash"])
    op.create_table(
        "mailbox_state",
        sa.Column("mailbox_id", BigId, autoincrement=False, nullable=False),
        sa.Column("modseq", sa.BigInteger(), nullable=False),
        sa.Column("floor_modseq", sa.BigInteger(), nullable=False),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.Column("octets", sa.BigInteger(), nullable=False),
        sa.Column("private_seen", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("quota_told", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["mailbox_id"], ["mailboxes.id"], name=op.f("fk_mailbox_state_mailbox_id_mailboxes")
        ),
        sa.PrimaryKeyConstraint("mailbox_id", name=op.f("pk_mailbox_state")),
    )
    op.create_table(
        "message_answers",
        sa.Column("mailbox_id", BigId, autoincrement=False, nullable=False),
        sa.Column("message_id", sa.String(length=32), nullable=False),
        sa.Column("answer_id", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("answered_at", UtcTime(), nullable=False),
        sa.Column("modseq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["mailbox_id"], ["mailboxes.id"], name=op.f("fk_message_answers_mailbox_id_mailboxes")
        ),
        sa.PrimaryKeyConstraint(
            "mailbox_id", "message_id", "answer_id", name=op.f("pk_message_answers")
        ),
    )
    op.create_index(
        op.f("ix_message_answers_mailbox_id_answer_id"),
        "message_answers",
        ["mailbox_id", "answer_id"],
    )
    op.create_table(
        "message_assignments",
        sa.Column("mailbox_id", BigId, autoincrement=False, nullable=False),
        sa.Column("message_id", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("since", UtcTime(), nullable=False),
        sa.Column("until", UtcTime(), nullable=False),
        sa.Column("modseq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["mailbox_id"],
            ["mailboxes.id"],
            name=op.f("fk_message_assignments_mailbox_id_mailboxes"),
        ),
        sa.PrimaryKeyConstraint("mailbox_id", "message_id", name=op.f("pk_message_assignments")),
    )
    op.create_index(
        op.f("ix_message_assignments_account_id_mailbox_id"),
        "message_assignments",
        ["account_id", "mailbox_id"],
    )
    op.create_index(op.f("ix_message_assignments_until"), "message_assignments", ["until"])
    op.create_table(
        "message_notes",
        sa.Column("id", BigId, sa.Identity(always=False), nullable=False),
        sa.Column("mailbox_id", BigId, nullable=False),
        sa.Column("message_id", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("written_at", UtcTime(), nullable=False),
        sa.Column("text", sa.LargeBinary(), nullable=True),
        sa.Column("removed_at", UtcTime(), nullable=True),
        sa.Column("modseq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["mailbox_id"], ["mailboxes.id"], name=op.f("fk_message_notes_mailbox_id_mailboxes")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message_notes")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_message_notes_mailbox_id_message_id"),
        "message_notes",
        ["mailbox_id", "message_id"],
    )
    op.create_table(
        "message_threads",
        sa.Column("mailbox_id", BigId, autoincrement=False, nullable=False),
        sa.Column("message_id", sa.String(length=32), nullable=False),
        sa.Column("thread_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["mailbox_id"], ["mailboxes.id"], name=op.f("fk_message_threads_mailbox_id_mailboxes")
        ),
        sa.PrimaryKeyConstraint("mailbox_id", "message_id", name=op.f("pk_message_threads")),
    )
    op.create_index(
        op.f("ix_message_threads_mailbox_id_thread_id"),
        "message_threads",
        ["mailbox_id", "thread_id"],
    )
    op.create_table(
        "message_work",
        sa.Column("mailbox_id", BigId, autoincrement=False, nullable=False),
        sa.Column("message_id", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=7), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("since", UtcTime(), nullable=False),
        sa.Column("modseq", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state IN ('open', 'taken', 'waiting', 'closed')",
            name=op.f("ck_message_work_state_known"),
        ),
        sa.ForeignKeyConstraint(
            ["mailbox_id"], ["mailboxes.id"], name=op.f("fk_message_work_mailbox_id_mailboxes")
        ),
        sa.PrimaryKeyConstraint("mailbox_id", "message_id", name=op.f("pk_message_work")),
    )
    op.create_index(
        op.f("ix_message_work_mailbox_id_state"), "message_work", ["mailbox_id", "state"]
    )
    op.create_table(
        "search_blocks",
        sa.Column("mailbox_id", BigId, autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["mailbox_id"], ["mailboxes.id"], name=op.f("fk_search_blocks_mailbox_id_mailboxes")
        ),
        sa.PrimaryKeyConstraint("mailbox_id", "number", name=op.f("pk_search_blocks")),
    )
    op.create_table(
        "thread_keys",
        sa.Column("mailbox_id", BigId, autoincrement=False, nullable=False),
        sa.Column("key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("thread_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["mailbox_id"], ["mailboxes.id"], name=op.f("fk_thread_keys_mailbox_id_mailboxes")
        ),
        sa.PrimaryKeyConstraint("mailbox_id", "key", "thread_id", name=op.f("pk_thread_keys")),
    )
    op.create_table(
        "folder_messages",
        sa.Column("folder_id", BigId, autoincrement=False, nullable=False),
        sa.Column("uid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("mailbox_id", sa.BigInteger(), nullable=False),
        sa.Column("entry_id", sa.BigInteger(), nullable=False),
        sa.Column("message_id", sa.String(length=32), nullable=False),
        sa.Column("flags", sa.BigInteger(), nullable=False),
        sa.Column("keywords", sa.BigInteger(), nullable=False),
        sa.Column("modseq", sa.BigInteger(), nullable=False),
        sa.Column("added_modseq", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("internal_date", UtcTime(), nullable=False),
        sa.Column("saved_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["folder_id"], ["folders.id"], name=op.f("fk_folder_messages_folder_id_folders")
        ),
        sa.PrimaryKeyConstraint("folder_id", "uid", name=op.f("pk_folder_messages")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_folder_messages_mailbox_id_added_modseq"),
        "folder_messages",
        ["mailbox_id", "added_modseq"],
    )
    op.create_index(
        op.f("ix_folder_messages_mailbox_id_message_id"),
        "folder_messages",
        ["mailbox_id", "message_id"],
    )
    op.create_index(
        op.f("ix_folder_messages_mailbox_id_modseq"), "folder_messages", ["mailbox_id", "modseq"]
    )
    op.add_column("domains", sa.Column("quota", sa.BigInteger(), nullable=True))
    op.add_column(
        "domains",
        sa.Column("quota_told", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    )
    op.create_index(
        "ix_mailboxes_with_quota",
        "mailboxes",
        ["id"],
        sqlite_where=sa.text("quota IS NOT NULL"),
        postgresql_where=sa.text("quota IS NOT NULL"),
    )
    op.create_index(
        "ix_mailbox_state_quota_told",
        "mailbox_state",
        ["quota_told", "mailbox_id"],
        sqlite_where=sa.text("quota_told > 0"),
        postgresql_where=sa.text("quota_told > 0"),
    )
    op.add_column(
        "entries", sa.Column("placed", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.create_index(
        "ix_entries_not_placed",
        "entries",
        ["mailbox_id", "id"],
        sqlite_where=sa.text("NOT placed"),
        postgresql_where=sa.text("NOT placed"),
    )


def downgrade() -> None:
    """Drop them, with folders, flags, notes and summaries; messages stay."""
    op.drop_index(
        "ix_entries_not_placed",
        table_name="entries",
        sqlite_where=sa.text("NOT placed"),
        postgresql_where=sa.text("NOT placed"),
    )
    op.drop_column("entries", "placed")
    op.drop_index(
        "ix_mailboxes_with_quota",
        table_name="mailboxes",
        sqlite_where=sa.text("quota IS NOT NULL"),
        postgresql_where=sa.text("quota IS NOT NULL"),
    )
    op.drop_column("domains", "quota_told")
    op.drop_column("domains", "quota")
    op.drop_table("folder_messages")
    op.drop_table("thread_keys")
    op.drop_table("search_blocks")
    op.drop_table("message_work")
    op.drop_table("message_threads")
    op.drop_table("message_notes")
    op.drop_table("message_assignments")
    op.drop_table("message_answers")
    op.drop_table("mailbox_state")
    op.drop_table("folders")
    op.drop_table("summaries")
    op.drop_table("seen_by_person")
    op.drop_table("mailbox_news")
    op.drop_table("keywords")
    op.drop_table("expunged")
