"""Tables of folders and of the state of messages in them (RFC 9051 §2.3).

A delivery inserts a row of `entries` and no more. Whoever looks at a mailbox gives its new entries
a folder, a UID and a modification sequence, under the lock of its row in `mailbox_state`: so what
becomes visible later never has a lower one, on any number of machines.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    String,
    Table,
    false,
    text,
    true,
)

from mailstore.db.dialect import BigId
from mailstore.db.schema import UtcTime, metadata

# The lock and the counters of a mailbox; the row is made when somebody looks for the first time.
mailbox_state = Table(
    "mailbox_state",
    metadata,
    Column("mailbox_id", BigId, ForeignKey("mailboxes.id"), primary_key=True, autoincrement=False),
    # The highest modification sequence given.
    Column("modseq", BigInteger, nullable=False),
    # Expunged messages and removed folders are known from this modification sequence on.
    Column("floor_modseq", BigInteger, nullable=False),
    # Messages in folders, and their octets; new entries are counted apart.
    Column("messages", BigInteger, nullable=False),
    Column("octets", BigInteger, nullable=False),
    # \Seen for each person apart; else it is shared by all.
    Column("private_seen", Boolean, nullable=False, server_default=false()),
    # Share of the quota whose crossing was told last, in percent: 0, 80 or 95.
    Column("quota_told", BigInteger, nullable=False, server_default=text("0")),
    Index(
        "ix_mailbox_state_quota_told",
        "quota_told",
        "mailbox_id",
        sqlite_where=text("quota_told > 0"),
        postgresql_where=text("quota_told > 0"),
    ),
)

folders = Table(
    "folders",
    metadata,
    Column("id", BigId, Identity(), primary_key=True),
    Column("mailbox_id", BigId, ForeignKey("mailboxes.id"), nullable=False),
    # The folder that it is in; null: at the top.
    Column("parent_id", BigId, ForeignKey("folders.id"), nullable=True),
    # 'inbox' or a special use (RFC 6154): 'sent', 'drafts', 'trash', 'junk', 'archive'.
    Column("role", String(7), nullable=True),
    # The last part of the name, sealed; its keyed hash, to find it.
    Column("name", LargeBinary, nullable=False),
    Column("name_hash", LargeBinary(16), nullable=False),
    Column("uid_validity", BigInteger, nullable=False),
    Column("uid_next", BigInteger, nullable=False),
    Column("subscribed", Boolean, nullable=False, server_default=true()),
    Column("created_at", UtcTime, nullable=False),
    # Of the folder's own row: made, renamed, moved, subscribed.
    Column("modseq", BigInteger, nullable=False),
    # Highest modification sequence of a message in it, expunged messages included.
    Column("messages_modseq", BigInteger, nullable=False),
    Column("messages", BigInteger, nullable=False),
    Column("octets", BigInteger, nullable=False),
    # Messages without the shared \Seen.
    Column("unseen", BigInteger, nullable=False),
    # Removed: the row stays, without its name, until the floor has passed it.
    Column("removed_modseq", BigInteger, nullable=True),
    CheckConstraint(
        "role IN ('inbox', 'sent', 'drafts', 'trash', 'junk', 'archive')", name="role_known"
    ),
    CheckConstraint("uid_next > 0", name="uid_next_positive"),
    Index(None, "mailbox_id", "name_hash"),
    sqlite_autoincrement=True,
)

# A message in a folder. Clustered by UID in SQLite: all flags of a folder are read in a row.
folder_messages = Table(
    "folder_messages",
    metadata,
    Column("folder_id", BigId, ForeignKey("folders.id"), primary_key=True, autoincrement=False),
    Column("uid", BigInteger, primary_key=True, autoincrement=False),
    Column("mailbox_id", BigInteger, nullable=False),
    # The row of `entries` that holds the message; it stays the same when the message is moved.
    Column("entry_id", BigInteger, nullable=False),
    Column("message_id", String(32), nullable=False),
    # Bits of system flags (`mailstore.folders.flags`), and of keywords (`keywords.bit`).
    Column("flags", BigInteger, nullable=False),
    Column("keywords", BigInteger, nullable=False),
    Column("modseq", BigInteger, nullable=False),
    # Modification sequence with which the entry came into the mailbox; kept when it is moved.
    Column("added_modseq", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    # Internal date (RFC 9051 §2.3.3), and the time it came into this folder (RFC 8514).
    Column("internal_date", UtcTime, nullable=False),
    Column("saved_at", UtcTime, nullable=False),
    Index(None, "mailbox_id", "modseq"),
    Index(None, "mailbox_id", "message_id"),
    # Which messages are in no search block yet.
    Index(None, "mailbox_id", "added_modseq"),
    sqlite_with_rowid=False,
)

# Messages that left a folder, so that clients can catch up (RFC 7162 §3.2.10).
expunged = Table(
    "expunged",
    metadata,
    Column("folder_id", BigId, primary_key=True, autoincrement=False),
    Column("uid", BigInteger, primary_key=True, autoincrement=False),
    Column("mailbox_id", BigInteger, nullable=False),
    Column("message_id", String(32), nullable=False),
    Column("modseq", BigInteger, nullable=False),
    Index(None, "mailbox_id", "modseq"),
    sqlite_with_rowid=False,
)

# Keywords of a mailbox: a bit of `folder_messages.keywords` each.
keywords = Table(
    "keywords",
    metadata,
    Column("mailbox_id", BigId, primary_key=True, autoincrement=False),
    Column("bit", BigInteger, primary_key=True, autoincrement=False),
    Column("name", LargeBinary, nullable=False),
    Column("name_hash", LargeBinary(16), nullable=False),
    CheckConstraint("bit BETWEEN 0 AND 62", name="bit_in_range"),
    sqlite_with_rowid=False,
)

# \Seen of one person, in mailboxes where it is private.
seen_by_person = Table(
    "seen_by_person",
    metadata,
    Column("entry_id", BigId, primary_key=True, autoincrement=False),
    Column("account_id", BigId, primary_key=True, autoincrement=False),
    Column("mailbox_id", BigInteger, nullable=False),
    Column("seen", Boolean, nullable=False),
    Column("modseq", BigInteger, nullable=False),
    Index(None, "mailbox_id", "account_id", "modseq"),
    sqlite_with_rowid=False,
)

# Changed mailboxes, for watchers on SQLite; PostgreSQL notifies them.
mailbox_news = Table(
    "mailbox_news",
    metadata,
    Column("mailbox_id", BigId, primary_key=True, autoincrement=False),
    # Rises with each change of any mailbox.
    Column("number", BigInteger, nullable=False),
    Index(None, "number"),
)
