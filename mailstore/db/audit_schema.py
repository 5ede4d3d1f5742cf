"""Tables of the audit trail: rows in hash chains, and signed anchors of the chains' heads.

In the metadata of `mailstore.db.schema`. A change here needs a migration; a test compares both.
Rows are added in the transaction of the act that they record (`mailstore.audit.trail`). Foreign
keys are left out on purpose: a row must outlive everything that it names.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
)

from mailstore.db.dialect import BigId
from mailstore.db.schema import UtcTime, metadata

# A chain is extended by one transaction at a time; a writer that finds all locked begins another.
audit_chains = Table(
    "audit_chains",
    metadata,
    # 1, 2, 3 …: a gap shows a chain removed.
    Column("id", BigId, primary_key=True, autoincrement=False),
    Column("begun_at", UtcTime, nullable=False),
    # Rows up to `floor_seq` were removed at the end of their retention; 0: none.
    Column("floor_seq", BigInteger, nullable=False),
    Column("floor_digest", LargeBinary(32), nullable=False),
    Column("head_seq", BigInteger, nullable=False),
    Column("head_digest", LargeBinary(32), nullable=False),
    # Keyed hash of floor and head.
    Column("seal", LargeBinary(32), nullable=False),
    CheckConstraint("floor_seq <= head_seq", name="floor_below_head"),
)

# A single row: numbers of chains and anchors, sealed, so that the last one cannot vanish unseen.
audit_state = Table(
    "audit_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("chains", BigInteger, nullable=False),
    Column("anchors", BigInteger, nullable=False),
    Column("seal", LargeBinary(32), nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

audit_rows = Table(
    "audit_rows",
    metadata,
    Column("chain", BigId, primary_key=True, autoincrement=False),
    # 1, 2, 3 … within the chain.
    Column("seq", BigId, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    # Name of the act, as mailbox.closed.
    Column("event", String(64), nullable=False),
    Column("result", String(8), nullable=False),
    # Tenant concerned; null: the whole operator.
    Column("tenant_id", BigInteger, nullable=True),
    # Actor: account (login) if it proved itself, Unix user behind a command, address of a client.
    Column("account", Text, nullable=True),
    Column("unix_user", Text, nullable=True),
    Column("door", String(16), nullable=False),
    Column("origin", Text, nullable=True),
    # Subject: mailbox (address as compared), message, account.
    Column("mailbox", Text, nullable=True),
    Column("message", String(32), nullable=True),
    Column("subject", Text, nullable=True),
    # Other facts: a JSON object, keys sorted.
    Column("facts", Text, nullable=False),
    # SHA-256 over the digest before it and this row; and a keyed hash of that.
    Column("digest", LargeBinary(32), nullable=False),
    Column("seal", LargeBinary(32), nullable=False),
    CheckConstraint("result IN ('done', 'refused', 'failed')", name="result_known"),
    Index(None, "at"),
    Index(None, "mailbox", "at"),
    Index(None, "account", "at"),
    Index(None, "subject", "at"),
    Index(None, "message"),
)

# Signed statements of all heads at a time; sent off the machine too.
audit_anchors = Table(
    "audit_anchors",
    metadata,
    Column("number", BigId, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    # JSON: number, time, digest of the anchor before, heads by chain.
    Column("statement", Text, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    # Places that have it: a JSON list as of `audit.anchors_to`; null: none yet.
    Column("sent_to", Text, nullable=True),
)
