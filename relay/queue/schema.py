"""Tables of the outbound queue, in the same SQLAlchemy metadata as the mailstore's tables.

So a message, its mailbox entries and its queue rows are committed in one transaction.  A change
here needs a migration; a test compares the two.
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
    false,
    text,
)

from mailstore.db.dialect import BigId
from mailstore.db.schema import MaskedText, UtcTime, metadata
from mailstore.db.sealed_columns import SealedAddress, SealedText

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", BigId, Identity(), primary_key=True),
    Column("message_id", String(32), ForeignKey("messages.id"), nullable=False, index=True),
    Column("domain", String(253), nullable=False),
    Column("state", String(9), nullable=False),
    Column("smtputf8", Boolean, nullable=False),
    # Counted when the lease is taken, before the attempt: backoff goes on after a crash.
    Column("attempts", Integer, nullable=False),
    Column("due", UtcTime, nullable=False),
    # Owner of the lease, as `node:process`, and end of the lease.
    Column("lease_owner", String(100), nullable=True),
    Column("lease_until", UtcTime, nullable=True),
    # New for each lease: after a fail-over, a number and an owner may mean another row.
    Column("lease_token", String(32), nullable=True),
    Column("created_at", UtcTime, nullable=False),
    Column("last_error", MaskedText, nullable=False),
    # Envelope sender, '' for the null sender; a copy, so that no query needs a join for it.
    Column("sender", SealedAddress("deliveries.sender"), nullable=False, server_default=""),
    # Class: `person` (interactive) or `bulk` (mail of programs, sent after interactive mail).
    Column("traffic", String(6), nullable=False, server_default="person"),
    # Type of the sending mailbox; null if no mailbox of ours sent the mail.
    Column("mailbox_type", String(3), nullable=True),
    # Reason of the hold; null if not held.
    Column("held", MaskedText, nullable=True),
    # Held because the body cannot be read; released automatically once it can be read.
    Column("unreadable", Boolean, nullable=False, server_default=false()),
    # DSN parameters of MAIL (RFC 3461 §4.3, §4.4), verbatim.
    Column("envid", SealedText("deliveries.envid"), nullable=True),
    Column("ret", String(4), nullable=True),
    # Whether the sender got a delay report.
    Column("delay_told", Boolean, nullable=False, server_default=false()),
    # Attempts with an unknown outcome: the peer may have the message.
    Column("unknown_outcomes", Integer, nullable=False, server_default="0"),
    CheckConstraint("state IN ('waiting', 'failed')", name="state_known"),
    CheckConstraint("traffic IN ('person', 'bulk')", name="traffic_known"),
    Index(None, "state", "due", "id"),
    # Waiting mail, as relay.queue.due reads it: by class, destination and sender.
    Index(
        None,
        "traffic",
        "domain",
        "sender",
        "due",
        "id",
        sqlite_where=text("state = 'waiting' AND held IS NULL"),
        postgresql_where=text("state = 'waiting' AND held IS NULL"),
    ),
    # A number is never given again: operators quote it in tickets.
    sqlite_autoincrement=True,
)

delivery_recipients = Table(
    "delivery_recipients",
    metadata,
    Column("id", BigId, Identity(), primary_key=True),
    Column("delivery_id", BigId, ForeignKey("deliveries.id"), nullable=False, index=True),
    Column("address", SealedAddress("delivery_recipients.address"), nullable=False),
    Column("state", String(9), nullable=False),
    # Last reply of the peer to this recipient, for operators; empty before the first.
    Column("reply", MaskedText, nullable=False),
    # DSN parameters of RCPT (RFC 3461 §4.1, §4.2): NOTIFY as keywords with commas, '' if absent;
    # and the original recipient, verbatim.
    Column("notify", String(32), nullable=False, server_default=""),
    Column("orcpt", SealedText("delivery_recipients.orcpt"), nullable=True),
    CheckConstraint("state IN ('waiting', 'delivered', 'failed')", name="state_known"),
)

# Health of destinations, shared by all machines; the domain `*` stands for all destinations.
destinations = Table(
    "destinations",
    metadata,
    Column("domain", String(253), primary_key=True),
    # Reason of the pause; null if not paused.
    Column("paused", MaskedText, nullable=True),
    # Deaths and failed probes since the last success, and the time of the next probe.
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("dead_until", UtcTime, nullable=True),
    Column("last_error", MaskedText, nullable=False, server_default=""),
)

# Hold rules: new mail that matches every pattern (`*` and `?`; null matches all) is held.
hold_rules = Table(
    "hold_rules",
    metadata,
    Column("id", BigId, Identity(), primary_key=True),
    Column("domain", Text, nullable=True),
    Column("sender", SealedText("hold_rules.sender"), nullable=True),
    Column("recipient", SealedText("hold_rules.recipient"), nullable=True),
    Column("mailbox_type", String(3), nullable=True),
    Column("reason", MaskedText, nullable=False),
    Column("author", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
)
