"""Accounts, credentials, groups, grants, roles, break-glass access, moves of teams."""

import sqlalchemy as sa
from alembic import op

from mailstore.db.dialect import BigId
from mailstore.db.schema import UtcTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "accounts",
        sa.Column("id", BigId, sa.Identity(), nullable=False),
        sa.Column("tenant_id", BigId, nullable=False),
        sa.Column("login", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("family_name", sa.Text(), nullable=False),
        sa.Column("given_name", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.String(9), nullable=False),
        sa.Column("state_since", UtcTime(), nullable=False),
        sa.Column("state_reason", sa.Text(), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("last_login_at", UtcTime(), nullable=True),
        sa.Column("failed_logins", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("failed_at", UtcTime(), nullable=True),
        sa.CheckConstraint("kind IN ('person', 'software')", name=op.f("ck_accounts_kind_known")),
        sa.CheckConstraint(
            "state IN ('active', 'suspended', 'closed')", name=op.f("ck_accounts_state_known")
        ),
        sa.CheckConstraint("login = lower(login)", name=op.f("ck_accounts_login_lower_case")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_accounts_tenant_id_tenants")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("login", name=op.f("uq_accounts_login")),
    )
    op.create_index(op.f("ix_accounts_tenant_id_login"), "accounts", ["tenant_id", "login"])
    op.create_table(
        "account_changes",
        sa.Column("id", BigId, autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_account_changes_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_changes")),
    )
    op.bulk_insert(
        sa.table("account_changes", sa.column("id"), sa.column("number")), [{"id": 1, "number": 0}]
    )
    op.create_table(
        "account_identifiers",
        sa.Column("id", BigId, sa.Identity(), nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("tenant_id", BigId, nullable=False),
        sa.Column("kind", sa.String(5), nullable=False),
        sa.Column("value", sa.String(64), nullable=False),
        sa.Column("since", UtcTime(), nullable=False),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('RPPS', 'ADELI', 'PSI')", name=op.f("ck_account_identifiers_kind_known")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_account_identifiers_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_account_identifiers_tenant_id_tenants")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_identifiers")),
    )
    op.create_index(
        op.f("ix_account_identifiers_account_id"), "account_identifiers", ["account_id"]
    )
    op.create_index(
        op.f("ix_account_identifiers_kind_value"), "account_identifiers", ["kind", "value"]
    )
    op.create_index(
        op.f("ix_account_identifiers_tenant_id_kind_value"),
        "account_identifiers",
        ["tenant_id", "kind", "value"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "account_groups",
        sa.Column("id", BigId, sa.Identity(), nullable=False),
        sa.Column("tenant_id", BigId, nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_account_groups_tenant_id_tenants")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_groups")),
    )
    op.create_index(
        op.f("ix_account_groups_tenant_id_name"),
        "account_groups",
        ["tenant_id", "name"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "group_members",
        sa.Column("group_id", BigId, nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("since", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_group_members_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["account_groups.id"],
            name=op.f("fk_group_members_group_id_account_groups"),
        ),
        sa.PrimaryKeyConstraint("group_id", "account_id", name=op.f("pk_group_members")),
    )
    op.create_index(op.f("ix_group_members_account_id"), "group_members", ["account_id"])
    op.create_table(
        "credentials",
        sa.Column("id", BigId, sa.Identity(), nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("last_used_at", UtcTime(), nullable=True),
        sa.Column("ends_at", UtcTime(), nullable=True),
        sa.Column("revoked_at", UtcTime(), nullable=True),
        sa.Column("mailbox_id", BigId, nullable=True),
        sa.Column("protocols", sa.Text(), nullable=True),
        sa.Column("lookup", sa.String(64), nullable=True),
        sa.Column("verifier", sa.LargeBinary(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('password', 'totp', 'recovery', 'app_password', 'certificate', 'oidc')",
            name=op.f("ck_credentials_kind_known"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_credentials_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["mailbox_id"], ["mailboxes.id"], name=op.f("fk_credentials_mailbox_id_mailboxes")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credentials")),
    )
    op.create_index(op.f("ix_credentials_account_id"), "credentials", ["account_id"])
    op.create_index(op.f("ix_credentials_mailbox_id"), "credentials", ["mailbox_id"])
    op.create_index(
        op.f("ix_credentials_kind_lookup"),
        "credentials",
        ["kind", "lookup"],
        unique=True,
        sqlite_where=sa.text("revoked_at IS NULL"),
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
    op.create_table(
        "grants",
        sa.Column("id", BigId, sa.Identity(), nullable=False),
        sa.Column("mailbox_id", BigId, nullable=False),
        sa.Column("account_id", BigId, nullable=True),
        sa.Column("group_id", BigId, nullable=True),
        sa.Column("may_read", sa.Boolean(), nullable=False),
        sa.Column("may_act", sa.Boolean(), nullable=False),
        sa.Column("may_send", sa.Boolean(), nullable=False),
        sa.Column("may_manage", sa.Boolean(), nullable=False),
        sa.Column("begins_at", UtcTime(), nullable=False),
        sa.Column("ends_at", UtcTime(), nullable=True),
        sa.Column("given_by", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "(account_id IS NULL) <> (group_id IS NULL)", name=op.f("ck_grants_account_or_group")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_grants_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["group_id"], ["account_groups.id"], name=op.f("fk_grants_group_id_account_groups")
        ),
        sa.ForeignKeyConstraint(
            ["mailbox_id"], ["mailboxes.id"], name=op.f("fk_grants_mailbox_id_mailboxes")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grants")),
    )
    op.create_index(op.f("ix_grants_account_id"), "grants", ["account_id"])
    op.create_index(op.f("ix_grants_ends_at"), "grants", ["ends_at"])
    op.create_index(op.f("ix_grants_group_id"), "grants", ["group_id"])
    op.create_index(op.f("ix_grants_mailbox_id"), "grants", ["mailbox_id"])
    op.create_table(
        "roles",
        sa.Column("id", BigId, sa.Identity(), nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("role", sa.String(9), nullable=False),
        sa.Column("tenant_id", BigId, nullable=True),
        sa.Column("domain_id", BigId, nullable=True),
        sa.Column("begins_at", UtcTime(), nullable=False),
        sa.Column("ends_at", UtcTime(), nullable=True),
        sa.Column("given_by", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "role IN ('operator', 'helpdesk', 'auditor', 'manager')",
            name=op.f("ck_roles_role_known"),
        ),
        sa.CheckConstraint(
            "tenant_id IS NULL OR domain_id IS NULL", name=op.f("ck_roles_one_scope")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_roles_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["domain_id"], ["domains.id"], name=op.f("fk_roles_domain_id_domains")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_roles_tenant_id_tenants")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_roles")),
    )
    op.create_index(op.f("ix_roles_account_id"), "roles", ["account_id"])
    op.create_table(
        "break_glass",
        sa.Column("id", BigId, sa.Identity(), nullable=False),
        sa.Column("mailbox_id", BigId, nullable=False),
        sa.Column("account_id", BigId, nullable=True),
        sa.Column("unix_user", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("asked_at", UtcTime(), nullable=False),
        sa.Column("ends_at", UtcTime(), nullable=False),
        sa.Column("needs_second", sa.Boolean(), nullable=False),
        sa.Column("second", sa.Text(), nullable=True),
        sa.Column("agreed_at", UtcTime(), nullable=True),
        sa.Column("tell_holder", sa.Boolean(), nullable=False),
        sa.Column("told_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_break_glass_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["mailbox_id"], ["mailboxes.id"], name=op.f("fk_break_glass_mailbox_id_mailboxes")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_break_glass")),
    )
    op.create_index(op.f("ix_break_glass_mailbox_id"), "break_glass", ["mailbox_id"])
    op.create_table(
        "team_moves",
        sa.Column("mailbox_id", BigId, nullable=False),
        sa.Column("begun_at", UtcTime(), nullable=False),
        sa.Column("grace_until", UtcTime(), nullable=False),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.Column("verifier", sa.LargeBinary(), nullable=True),
        sa.Column("last_used_at", UtcTime(), nullable=True),
        sa.Column("failed_logins", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("failed_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["mailbox_id"], ["mailboxes.id"], name=op.f("fk_team_moves_mailbox_id_mailboxes")
        ),
        sa.PrimaryKeyConstraint("mailbox_id", name=op.f("pk_team_moves")),
    )
    op.create_table(
        "inactivity",
        sa.Column("mailbox_id", BigId, nullable=False),
        sa.Column("warnings", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("warned_at", UtcTime(), nullable=True),
        sa.Column("kept_until", UtcTime(), nullable=True),
        sa.Column("kept_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["mailbox_id"], ["mailboxes.id"], name=op.f("fk_inactivity_mailbox_id_mailboxes")
        ),
        sa.PrimaryKeyConstraint("mailbox_id", name=op.f("pk_inactivity")),
    )


def downgrade() -> None:
    """Drop the tables, with all accounts and rights."""
    op.drop_table("inactivity")
    op.drop_table("team_moves")
    op.drop_table("break_glass")
    op.drop_table("roles")
    op.drop_table("grants")
    op.drop_table("credentials")
    op.drop_table("group_members")
    op.drop_table("account_groups")
    op.drop_table("account_identifiers")
    op.drop_table("account_changes")
    op.drop_table("accounts")
