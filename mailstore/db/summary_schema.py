"""Tables of summaries: what lists and searches need of a message, read once and sealed.

No row here has a word of a message in clear, nor an index that tells words.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
)

from mailstore.db.dialect import BigId
from mailstore.db.schema import metadata

summaries = Table(
    "summaries",
    metadata,
    Column("message_id", String(32), ForeignKey("messages.id"), primary_key=True),
    # Version of the reader that made it; an older summary is made anew.
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)

# Blocks: header texts of up to 256 messages of a mailbox, for searches; sealed as a whole.
search_blocks = Table(
    "search_blocks",
    metadata,
    Column("mailbox_id", BigId, ForeignKey("mailboxes.id"), primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    # It has all messages of the mailbox with an `added_modseq` from `first` to `last`.
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("messages", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)

# The thread of a message in a mailbox (RFC 8621 §3).
message_threads = Table(
    "message_threads",
    metadata,
    Column("mailbox_id", BigId, ForeignKey("mailboxes.id"), primary_key=True, autoincrement=False),
    Column("message_id", String(32), primary_key=True),
    Column("thread_id", String(32), nullable=False),
    Index(None, "mailbox_id", "thread_id"),
)

# Keyed hashes of Message-IDs, to find the thread of an answer.
thread_keys = Table(
    "thread_keys",
    metadata,
    Column("mailbox_id", BigId, ForeignKey("mailboxes.id"), primary_key=True, autoincrement=False),
    Column("key", LargeBinary(16), primary_key=True),
    Column("thread_id", String(32), primary_key=True),
)
