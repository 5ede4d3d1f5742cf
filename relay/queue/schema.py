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
    false,
    text,
)

from mailstore.db.dialect import BigId
from mailstore.db.schema import UtcTime, metadata

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
    # Made anew for each lease: a number and an owner may mean another row after a fail-over.
    Column("lease_token", String(32), nullable=True),
    Column("created_at", UtcTime, nullable=False),
    Column("last_error", Text, nullable=False),
    # The envelope sender, '' for the null one; here too, so that nobody joins to look for it.
    Column("sender", Text, nullable=False, server_default=""),
    # Mail by programs, which waits behind that of people: `person` or `bulk`.
    Column("traffic", String(6), nullable=False, server_default="person"),
    # The type of the mailbox that sent it, null for what no mailbox of ours sent.
    Column("mailbox_type", String(3), nullable=True),
    # Why it is held, null if it is not.
    Column("held", Text, nullable=True),
    # Whether it is held since its body cannot be read, and goes on by itself once that can be.
    Column("unreadable", Boolean, nullable=False, server_default=false()),
    # What MAIL asked for in reports (RFC 3461 §4.3, §4.4), verbatim.
    Column("envid", Text, nullable=True),
    Column("ret", String(4), nullable=True),
    # Whether the sender has been told that it is late.
    Column("delay_told", Boolean, nullable=False, server_default=false()),
    # Attempts after which the peer may have the message, and nobody knows.
    Column("unknown_outcomes", Integer, nullable=False, server_default="0"),
    CheckConstraint("state IN ('waiting', 'failed')", name="state_known"),
    CheckConstraint("traffic IN ('person', 'bulk')", name="traffic_known"),
    Index(None, "state", "due", "id"),
    # What waits, as relay.queue.due walks it: by class, destination and sender.
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
    # What RCPT asked for in reports (RFC 3461 §4.1, §4.2): keywords with commas, '' if it did not;
    # and the original recipient, verbatim.
    Column("notify", String(32), nullable=False, server_default=""),
    Column("orcpt", Text, nullable=True),
    CheckConstraint("state IN ('waiting', 'delivered', 'failed')", name="state_known"),
)

# What is known of a destination, by all machines; the domain `*` stands for all of them.
destinations = Table(
    "destinations",
    metadata,
    Column("domain", String(253), primary_key=True),
    # Why nothing is sent there, null if it is not paused.
    Column("paused", Text, nullable=True),
    # Attempts in a row that no host of it answered, and until when it is taken for dead.
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("dead_until", UtcTime, nullable=True),
    Column("last_error", Text, nullable=False, server_default=""),
)

# New mail that matches every pattern of a rule (`*` and `?`; null matches all) is held.
hold_rules = Table(
    "hold_rules",
    metadata,
    Column("id", BigId, Identity(), primary_key=True),
    Column("domain", Text, nullable=True),
    Column("sender", Text, nullable=True),
    Column("recipient", Text, nullable=True),
    Column("mailbox_type", String(3), nullable=True),
    Column("reason", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
)
