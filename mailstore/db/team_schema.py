"""Tables of a team's work on messages: assignments, notes, work states, answers.

IMAP, JMAP and web show the same rows.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    String,
    Table,
)

from mailstore.db.dialect import BigId
from mailstore.db.schema import UtcTime, metadata

# The person to whom a message is assigned: at most one, by the primary key.
message_assignments = Table(
    "message_assignments",
    metadata,
    Column("mailbox_id", BigId, ForeignKey("mailboxes.id"), primary_key=True, autoincrement=False),
    Column("message_id", String(32), primary_key=True),
    Column("account_id", BigInteger, nullable=False),
    Column("since", UtcTime, nullable=False),
    Column("until", UtcTime, nullable=False),
    Column("modseq", BigInteger, nullable=False),
    Index(None, "account_id", "mailbox_id"),
    Index(None, "until"),
)

message_notes = Table(
    "message_notes",
    metadata,
    Column("id", BigId, Identity(), primary_key=True),
    Column("mailbox_id", BigId, ForeignKey("mailboxes.id"), nullable=False),
    Column("message_id", String(32), nullable=False),
    Column("account_id", BigInteger, nullable=False),
    Column("written_at", UtcTime, nullable=False),
    # The text, sealed; null once it is removed.
    Column("text", LargeBinary, nullable=True),
    Column("removed_at", UtcTime, nullable=True),
    Column("modseq", BigInteger, nullable=False),
    Index(None, "mailbox_id", "message_id"),
    sqlite_autoincrement=True,
)

# State of the work on a message; without a row it is 'open'.
message_work = Table(
    "message_work",
    metadata,
    Column("mailbox_id", BigId, ForeignKey("mailboxes.id"), primary_key=True, autoincrement=False),
    Column("message_id", String(32), primary_key=True),
    Column("state", String(7), nullable=False),
    Column("account_id", BigInteger, nullable=True),
    Column("since", UtcTime, nullable=False),
    Column("modseq", BigInteger, nullable=False),
    CheckConstraint("state IN ('open', 'taken', 'waiting', 'closed')", name="state_known"),
    Index(None, "mailbox_id", "state"),
)

# A message and its answer, with the person.
message_answers = Table(
    "message_answers",
    metadata,
    Column("mailbox_id", BigId, ForeignKey("mailboxes.id"), primary_key=True, autoincrement=False),
    Column("message_id", String(32), primary_key=True),
    Column("answer_id", String(32), primary_key=True),
    Column("account_id", BigInteger, nullable=True),
    Column("answered_at", UtcTime, nullable=False),
    Column("modseq", BigInteger, nullable=False),
    Index(None, "mailbox_id", "answer_id"),
)
