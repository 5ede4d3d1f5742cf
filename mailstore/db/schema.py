"""Tables of the mailstore, in the metadata shared by all of the operator's tables.

The upper layer adds its queue tables to this `metadata`, so that a message, its mailbox entries and
its queue rows are committed in a single transaction. Rows are narrow: bodies are in the blob store,
small bodies in their own table. A change here needs a migration; a test compares both.
"""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
    text,
)

from foundation.privacy import mask
from mailstore.db.dialect import BigId
from mailstore.db.instants import instant
from mailstore.db.instants import microseconds as microseconds  # noqa: PLC0414 - for callers
from mailstore.db.sealed_columns import SealedAddress


class UtcTime(TypeDecorator[datetime]):
    """An aware datetime, stored as whole microseconds since 1970 in UTC.

    SQLite has no type for an instant; an integer is exact, and sorts and indexes alike on both
    databases. A naive datetime raises ValueError, since its instant is unknown.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Convert an aware datetime of any zone to microseconds."""
        return None if value is None else microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Convert microseconds to a datetime in UTC."""
        return None if value is None else instant(value)


class MaskedText(TypeDecorator[str]):
    """Text that a person typed, such as a reason: without patients' identifiers (DOMAIN §1.5)."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Mask them on the way in: nobody needs them there."""
        return None if value is None else mask(value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

domains = Table(
    "domains",
    metadata,
    Column("id", BigId, Identity(), primary_key=True),
    Column("name", String(253), nullable=False, unique=True),
    Column("created_at", UtcTime, nullable=False),
    # The customer that owns the domain, a row of `tenants`. Not a foreign key: SQLite cannot add
    # a column that has both a reference and a default.
    Column("tenant_id", BigInteger, nullable=False, server_default=text("1"), index=True),
    # No longer hosted. The row stays: the addresses of its mailboxes are never given again.
    Column("removed_at", UtcTime, nullable=True),
    # Most octets of all its mailboxes together; null: no limit.
    Column("quota", BigInteger, nullable=True),
    # Share of the quota whose crossing was told last, in percent: 0, 80 or 95.
    Column("quota_told", BigInteger, nullable=False, server_default=text("0")),
    CheckConstraint("name = lower(name)", name="name_lower_case"),
)

mailboxes = Table(
    "mailboxes",
    metadata,
    Column("id", BigId, Identity(), primary_key=True),
    Column("domain_id", BigId, ForeignKey("domains.id"), nullable=False),
    # As given by the administrator, for display; comparisons use `address`.
    Column("local_part", String(64), nullable=False),
    Column("address", String(320), nullable=False, unique=True),
    Column("type", String(3), nullable=False),
    Column("state", String(9), nullable=False),
    Column("identifier_kind", String(9), nullable=False),
    Column("identifier_value", String(14), nullable=False),
    Column("description", Text, nullable=True),
    Column("created_at", UtcTime, nullable=False),
    # Most octets of all messages together; null: no limit.
    Column("quota", BigInteger, nullable=True),
    # Structure where the person of a PER mailbox works; null: tied to the RPPS alone.
    Column("structure_kind", String(9), nullable=True),
    Column("structure_value", String(14), nullable=True),
    # Attributes of the national directory (DOMAIN U4).
    Column("red_list", Boolean, nullable=False, server_default=false()),
    Column("rank", Integer, nullable=True),
    Column("service", Text, nullable=True),
    Column("responsible", Text, nullable=True),
    # Refuses ordinary mail; reports (DSN, MDN) reach it (DOMAIN §9.40).
    Column("no_reply", Boolean, nullable=False, server_default=false()),
    # Start and reason of the present state; null: since creation.
    Column("state_since", UtcTime, nullable=True),
    Column("state_reason", MaskedText, nullable=True),
    # Answer to mail in the present state: 'defer' (450), 'refuse' (550); null: the default.
    Column("inbound", String(6), nullable=True),
    # A deleted mailbox stays 'closed' in `state`: its row keeps the address from another holder.
    Column("deleted_at", UtcTime, nullable=True),
    # State before the deletion, for a restoration.
    Column("state_before", String(9), nullable=True),
    # When its content is erased; null once that is done.
    Column("erase_after", UtcTime, nullable=True),
    # When the erasure began: a restoration is too late from then on.
    Column("erased_at", UtcTime, nullable=True),
    # Last log-in of a person or program to this mailbox (DOMAIN U1.2); null: none yet.
    Column("last_login_at", UtcTime, nullable=True),
    CheckConstraint("type IN ('PER', 'ORG', 'APP', 'CAB')", name="type_known"),
    CheckConstraint("state IN ('active', 'suspended', 'closed')", name="state_known"),
    CheckConstraint(
        "identifier_kind IN ('RPPS', 'ADELI', 'FINESS', 'SIREN', 'SIRET')",
        name="identifier_kind_known",
    ),
    CheckConstraint("quota >= 0", name="quota_not_negative"),
    CheckConstraint("inbound IN ('defer', 'refuse')", name="inbound_known"),
    CheckConstraint("rank > 0", name="rank_positive"),
    # Listing by domain in pages.
    Index(None, "domain_id", "address"),
    Index(None, "identifier_value"),
    # The watch of quotas looks at no other mailbox.
    Index(
        "ix_mailboxes_with_quota",
        "id",
        sqlite_where=text("quota IS NOT NULL"),
        postgresql_where=text("quota IS NOT NULL"),
    ),
    Index(
        None,
        "erase_after",
        sqlite_where=text("erase_after IS NOT NULL"),
        postgresql_where=text("erase_after IS NOT NULL"),
    ),
)

# Co-holders of a CAB mailbox, beside the responsible RPPS of `mailboxes` (DOMAIN §9.37).
mailbox_holders = Table(
    "mailbox_holders",
    metadata,
    Column("mailbox_id", BigId, ForeignKey("mailboxes.id"), primary_key=True),
    Column("rpps", String(11), primary_key=True),
    Column("since", UtcTime, nullable=False),
    Index(None, "rpps"),
)

# Other addresses of a mailbox inside this operator.
aliases = Table(
    "aliases",
    metadata,
    Column("id", BigId, Identity(), primary_key=True),
    Column("mailbox_id", BigId, ForeignKey("mailboxes.id"), nullable=False, index=True),
    Column("domain_id", BigId, ForeignKey("domains.id"), nullable=False, index=True),
    Column("local_part", String(64), nullable=False),
    # Unique here; a function refuses an address of `mailboxes` under a lock of the domain's row.
    Column("address", String(320), nullable=False, unique=True),
    Column("created_at", UtcTime, nullable=False),
    # From then on mail is refused; the row stays, so that nobody else gets the address.
    Column("ends_at", UtcTime, nullable=True),
)

# Messages and recipients sent by a mailbox in an hour, for its limits.
sent_counts = Table(
    "sent_counts",
    metadata,
    Column("mailbox_id", BigId, ForeignKey("mailboxes.id"), primary_key=True),
    # Start of the hour.
    Column("hour", UtcTime, primary_key=True),
    Column("messages", Integer, nullable=False),
    Column("recipients", Integer, nullable=False),
    # Messages that a limit refused.
    Column("refused", Integer, nullable=False, server_default="0"),
    Index(None, "hour"),
)

messages = Table(
    "messages",
    metadata,
    # 32 hexadecimal digits that sort by time (like UUIDv7), made by the caller.
    Column("id", String(32), primary_key=True),
    # The envelope sender; empty for the null sender of reports (RFC 5321 §4.5.5).
    Column("sender", SealedAddress("messages.sender"), nullable=False),
    Column("blob", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    # Header fields added on arrival, with CRLF. Not in the blob, which is written before they are
    # known.
    Column("trace", Text, nullable=False),
    # The distinguished name of the peer's certificate, or 'local'.
    Column("peer", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("received_at", UtcTime, nullable=False),
    CheckConstraint("length(id) = 32", name="id_length"),
    CheckConstraint("length(blob) = 64", name="blob_length"),
    CheckConstraint("size >= 0", name="size_not_negative"),
)

entries = Table(
    "entries",
    metadata,
    Column("id", BigId, Identity(), primary_key=True),
    Column("mailbox_id", BigId, ForeignKey("mailboxes.id"), nullable=False),
    Column("message_id", String(32), ForeignKey("messages.id"), nullable=False, index=True),
    # The recipient address as in the peer's RCPT.
    Column("recipient", SealedAddress("entries.recipient"), nullable=False),
    Column("delivered_at", UtcTime, nullable=False),
    # In a folder, with a UID: `mailstore.db.folder_schema`.
    Column("placed", Boolean, nullable=False, server_default=false()),
    Index(None, "mailbox_id", "id"),
    Index(
        "ix_entries_not_placed",
        "mailbox_id",
        "id",
        sqlite_where=text("NOT placed"),
        postgresql_where=text("NOT placed"),
    ),
    # A number is never reused, even after the last entry was deleted.
    sqlite_autoincrement=True,
)

# Small bodies, in the form of `mailstore.sealed.blob_format`. Not a column of `messages`: listings
# of messages need not read them.
bodies = Table(
    "bodies",
    metadata,
    # The name: random, or the SHA-256 of the content (`mailstore.sealed.draft`).
    Column("blob", LargeBinary(32), primary_key=True),
    # Last use by a message, like the mtime of a file; for garbage collection.
    Column("used_at", UtcTime, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    CheckConstraint("length(blob) = 32", name="blob_length"),
)

# A single row that recognises a wrong key file, even in an empty store.
store_mark = Table(
    "store_mark",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    # Sealed with the store's keys (`mailstore.sealed.keyring`).
    Column("mark", LargeBinary, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

# A single row whose number changes with each change of a mailbox: cached mailboxes stay valid while
# the number is unchanged.
mailbox_changes = Table(
    "mailbox_changes",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

# Progress of the job that seals patients' addresses in rows from before they were sealed.
row_sealing = Table(
    "row_sealing",
    metadata,
    # The table walked; `*` for the database's file, which is cleaned at the end.
    Column("name", String(64), primary_key=True),
    # The last key of a row that is done, as text; empty at the beginning.
    Column("after", Text, nullable=False),
    # Null until all rows are done.
    Column("finished_at", UtcTime, nullable=True),
)
