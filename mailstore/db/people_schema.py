"""Tables of tenants, accounts, credentials, groups, grants, roles and break-glass access.

In the metadata of `mailstore.db.schema`. A change here needs a migration; a test compares both.
Times that end something are exclusive: a grant with `ends_at` = noon is over at noon.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    text,
)

from mailstore.db.dialect import BigId
from mailstore.db.schema import MaskedText, UtcTime, metadata

OPERATOR_TENANT = 1  # id of the tenant that the migration makes: the operator itself

# Customers of the operator: each owns domains and accounts.
tenants = Table(
    "tenants",
    metadata,
    Column("id", BigId, Identity(), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("title", MaskedText, nullable=False, server_default=""),
    Column("created_at", UtcTime, nullable=False),
    CheckConstraint("name = lower(name)", name="name_lower_case"),
)

# Persons and programs. A person who works for two tenants has an account with each.
accounts = Table(
    "accounts",
    metadata,
    Column("id", BigId, Identity(), primary_key=True),
    Column("tenant_id", BigId, ForeignKey("tenants.id"), nullable=False),
    # Name at log-in and in the audit trail, lower case; never given to another account.
    Column("login", String(128), nullable=False, unique=True),
    Column("kind", String(8), nullable=False),
    # Of a person: names. Of a program: its name in `family_name`.
    Column("family_name", Text, nullable=False),
    Column("given_name", Text, nullable=False, server_default=""),
    Column("state", String(9), nullable=False),
    Column("state_since", UtcTime, nullable=False),
    Column("state_reason", MaskedText, nullable=True),
    Column("created_at", UtcTime, nullable=False),
    Column("last_login_at", UtcTime, nullable=True),
    # Wrong passwords and codes since the last log-in with two factors, and when the last came.
    Column("failed_logins", Integer, nullable=False, server_default=text("0")),
    Column("failed_at", UtcTime, nullable=True),
    CheckConstraint("kind IN ('person', 'software')", name="kind_known"),
    CheckConstraint("state IN ('active', 'suspended', 'closed')", name="state_known"),
    CheckConstraint("login = lower(login)", name="login_lower_case"),
    # For the pages of a tenant's accounts.
    Index(None, "tenant_id", "login"),
)

# A single row whose number changes with each ending of an access (account, credential, grant,
# membership) and each change of an account: doors look at it to notice acts of other processes.
account_changes = Table(
    "account_changes",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

# National identifiers of persons; any that has not ended identifies them (DOMAIN U3).
account_identifiers = Table(
    "account_identifiers",
    metadata,
    Column("id", BigId, Identity(), primary_key=True),
    Column("account_id", BigId, ForeignKey("accounts.id"), nullable=False, index=True),
    Column("tenant_id", BigId, ForeignKey("tenants.id"), nullable=False),
    # RPPS, ADELI, or PSI: an identity of Pro Santé Connect that is neither.
    Column("kind", String(5), nullable=False),
    Column("value", String(64), nullable=False),
    Column("since", UtcTime, nullable=False),
    Column("ended_at", UtcTime, nullable=True),
    CheckConstraint("kind IN ('RPPS', 'ADELI', 'PSI')", name="kind_known"),
    Index(None, "kind", "value"),
    # An ended one may be given to another account: it was mistyped, or the person is back.
    Index(
        None,
        "tenant_id",
        "kind",
        "value",
        unique=True,
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)

account_groups = Table(
    "account_groups",
    metadata,
    Column("id", BigId, Identity(), primary_key=True),
    Column("tenant_id", BigId, ForeignKey("tenants.id"), nullable=False),
    Column("name", String(128), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    # A removed group keeps its row, to which past grants refer; its name is free again.
    Column("ended_at", UtcTime, nullable=True),
    Index(
        None,
        "tenant_id",
        "name",
        unique=True,
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)

group_members = Table(
    "group_members",
    metadata,
    Column("group_id", BigId, ForeignKey("account_groups.id"), primary_key=True),
    Column("account_id", BigId, ForeignKey("accounts.id"), primary_key=True),
    Column("since", UtcTime, nullable=False),
    Index(None, "account_id"),
)

# Proofs of identity. No secret that a person chose or got is readable here.
credentials = Table(
    "credentials",
    metadata,
    Column("id", BigId, Identity(), primary_key=True),
    Column("account_id", BigId, ForeignKey("accounts.id"), nullable=False, index=True),
    Column("kind", String(12), nullable=False),
    # Given by its owner or an administrator, as "poste du bloc".
    Column("name", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("last_used_at", UtcTime, nullable=True),
    Column("ends_at", UtcTime, nullable=True),
    Column("revoked_at", UtcTime, nullable=True),
    # App password: the mailbox and protocols ("imap,submission") that it opens.
    Column("mailbox_id", BigId, ForeignKey("mailboxes.id"), nullable=True, index=True),
    Column("protocols", Text, nullable=True),
    # Found by it at log-in: public part of an app password, digest of tenant and DN, or of tenant,
    # issuer and subject.
    Column("lookup", String(64), nullable=True),
    # Verifier: argon2id text, sealed hash, sealed TOTP secret, DN or issuer and subject.
    Column("verifier", LargeBinary, nullable=False),
    # TOTP: last time step used, so that a code works once.
    Column("last_step", BigInteger, nullable=True),
    CheckConstraint(
        "kind IN ('password', 'totp', 'recovery', 'app_password', 'certificate', 'oidc')",
        name="kind_known",
    ),
    # A revoked certificate or identity may be given to another account.
    Index(
        None,
        "kind",
        "lookup",
        unique=True,
        sqlite_where=text("revoked_at IS NULL"),
        postgresql_where=text("revoked_at IS NULL"),
    ),
)

# Rights of an account or of a group on an ORG, CAB or APP mailbox, or of a PER holder's delegate.
grants = Table(
    "grants",
    metadata,
    Column("id", BigId, Identity(), primary_key=True),
    Column("mailbox_id", BigId, ForeignKey("mailboxes.id"), nullable=False, index=True),
    Column("account_id", BigId, ForeignKey("accounts.id"), nullable=True, index=True),
    Column("group_id", BigId, ForeignKey("account_groups.id"), nullable=True, index=True),
    Column("may_read", Boolean, nullable=False),
    Column("may_act", Boolean, nullable=False),
    Column("may_send", Boolean, nullable=False),
    Column("may_manage", Boolean, nullable=False),
    Column("begins_at", UtcTime, nullable=False),
    Column("ends_at", UtcTime, nullable=True),
    # Login or Unix user that gave it.
    Column("given_by", Text, nullable=False),
    CheckConstraint("(account_id IS NULL) <> (group_id IS NULL)", name="account_or_group"),
    Index(None, "ends_at"),
)

# Administrators. Without tenant and domain, the role is for the whole operator.
roles = Table(
    "roles",
    metadata,
    Column("id", BigId, Identity(), primary_key=True),
    Column("account_id", BigId, ForeignKey("accounts.id"), nullable=False, index=True),
    Column("role", String(9), nullable=False),
    Column("tenant_id", BigId, ForeignKey("tenants.id"), nullable=True),
    Column("domain_id", BigId, ForeignKey("domains.id"), nullable=True),
    Column("begins_at", UtcTime, nullable=False),
    Column("ends_at", UtcTime, nullable=True),
    Column("given_by", Text, nullable=False),
    CheckConstraint("role IN ('operator', 'helpdesk', 'auditor', 'manager')", name="role_known"),
    CheckConstraint("tenant_id IS NULL OR domain_id IS NULL", name="one_scope"),
)

# Access of an administrator to the content of a mailbox, with reason and end.
break_glass = Table(
    "break_glass",
    metadata,
    Column("id", BigId, Identity(), primary_key=True),
    Column("mailbox_id", BigId, ForeignKey("mailboxes.id"), nullable=False, index=True),
    # Null: the Unix user of the operator, without an account.
    Column("account_id", BigId, ForeignKey("accounts.id"), nullable=True),
    Column("unix_user", Text, nullable=False),
    Column("reason", MaskedText, nullable=False),
    Column("asked_at", UtcTime, nullable=False),
    Column("ends_at", UtcTime, nullable=False),
    # Whether a second person must agree, and who did.
    Column("needs_second", Boolean, nullable=False),
    Column("second", Text, nullable=True),
    Column("agreed_at", UtcTime, nullable=True),
    # When the holder was told; null: not yet, or not to be told (`tell_holder`).
    Column("tell_holder", Boolean, nullable=False),
    Column("told_at", UtcTime, nullable=True),
)

# Move of an ORG or CAB mailbox from one shared log-in to named accounts. The only place of a
# password that several persons know: it belongs to no account, and opens this mailbox alone.
team_moves = Table(
    "team_moves",
    metadata,
    Column("mailbox_id", BigId, ForeignKey("mailboxes.id"), primary_key=True),
    Column("begun_at", UtcTime, nullable=False),
    Column("grace_until", UtcTime, nullable=False),
    Column("ended_at", UtcTime, nullable=True),
    # The team's shared password (argon2id text) while it opens the mailbox; null: none, or over.
    Column("verifier", LargeBinary, nullable=True),
    # Noted once an hour, each with a row in the audit trail.
    Column("last_used_at", UtcTime, nullable=True),
    # Wrong shared passwords since the last right one, and when the last came.
    Column("failed_logins", Integer, nullable=False, server_default=text("0")),
    Column("failed_at", UtcTime, nullable=True),
)

# Notices to the holders of mailboxes long unused (DOMAIN U1.2), and their objections.
inactivity = Table(
    "inactivity",
    metadata,
    Column("mailbox_id", BigId, ForeignKey("mailboxes.id"), primary_key=True),
    # Warnings since the last use, and when the last went; one from before a use counts no more.
    Column("warnings", Integer, nullable=False, server_default=text("0")),
    Column("warned_at", UtcTime, nullable=True),
    # Objection: until then no step is taken.
    Column("kept_until", UtcTime, nullable=True),
    Column("kept_reason", MaskedText, nullable=True),
)
