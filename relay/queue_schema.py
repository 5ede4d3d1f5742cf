"""The tables of the outbound queue, on the metadata that the mailstore's tables are on.

Sharing it lets a message, its mailbox entries and its queue rows be committed in one transaction.
What changes here needs a migration; a test compares the two.
"""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    String,
    Table,
    Text,
)

from mailstore.dialect import BigId
from mailstore.schema import UtcTime, metadata

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", BigId, Identity(), primary_key=True),
    Column("message_id", String(32), ForeignKey("messages.id"), nullable=False, index=True),
    Column("domain", String(253), nullable=False),
    Column("state", String(9), nullable=False),
    Column("smtputf8", Boolean, nullable=False),
    # Counted when an attempt begins, so that a crash in the middle of one is not retried at once.
    Column("attempts", Integer, nullable=False),
    Column("due", UtcTime, nullable=False),
    # The process that works on it, as `node:process`, and until when others keep away.
    Column("lease_owner", String(100), nullable=True),
    Column("lease_until", UtcTime, nullable=True),
    Column("created_at", UtcTime, nullable=False),
    Column("last_error", Text, nullable=False),
    CheckConstraint("state IN ('waiting', 'failed')", name="state_known"),
    Index(None, "state", "due", "id"),
    # A number, once given, is never given again: operators quote it in tickets.
    sqlite_autoincrement=True,
)

delivery_recipients = Table(
    "delivery_recipients",
    metadata,
    Column("id", BigId, Identity(), primary_key=True),
    Column("delivery_id", BigId, ForeignKey("deliveries.id"), nullable=False, index=True),
    Column("address", Text, nullable=False),
    Column("state", String(9), nullable=False),
    # The last reply of the peer to this recipient, empty before the first.
    Column("reply", Text, nullable=False),
    CheckConstraint("state IN ('waiting', 'delivered', 'failed')", name="state_known"),
)
