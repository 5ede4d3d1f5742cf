"""The tables of the mailstore, on the one metadata that all of the operator's tables share.

The upper layer adds its queue tables to this same `metadata`, so that a message, its mailbox
entries and its queue rows are committed in one transaction. Rows are narrow: bodies live in the
blob store, small ones in a table of their own. What changes here needs a migration; a test compares
the two.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    BigInteger,
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
)

from mailstore.db.dialect import BigId

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class UtcTime(TypeDecorator[datetime]):
    """An aware datetime, kept as whole microseconds since 1970 in UTC.

    SQLite has no type for an instant: an integer is exact, and sorts and indexes alike on both
    dialects. A naive datetime is refused with ValueError, since its instant is unknown.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Turn an aware datetime of any zone into microseconds."""
        return None if value is None else microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Turn microseconds into a datetime in UTC."""
        return None if value is None else _EPOCH + value * _MICROSECOND


def microseconds(value: datetime) -> int:
    """Whole microseconds since 1970 in UTC, as tables hold a time. ValueError for a naive one."""
    if value.tzinfo is None:
        raise ValueError(f"a time with its zone is needed, not the naive {value.isoformat()}")
    return (value - _EPOCH) // _MICROSECOND


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
    CheckConstraint("name = lower(name)", name="name_lower_case"),
)

mailboxes = Table(
    "mailboxes",
    metadata,
    Column("id", BigId, Identity(), primary_key=True),
    Column("domain_id", BigId, ForeignKey("domains.id"), nullable=False, index=True),
    # As given by the administrator, for display; `address` is what is compared.
    Column("local_part", String(64), nullable=False),
    Column("address", String(320), nullable=False, unique=True),
    Column("type", String(3), nullable=False),
    Column("state", String(9), nullable=False),
    Column("identifier_kind", String(9), nullable=False),
    Column("identifier_value", String(14), nullable=False),
    Column("description", Text, nullable=True),
    Column("created_at", UtcTime, nullable=False),
    # Octets that its messages may have in all; null is no limit.
    Column("quota", BigInteger, nullable=True),
    CheckConstraint("type IN ('PER', 'ORG', 'APP', 'CAB')", name="type_known"),
    CheckConstraint("state IN ('active', 'suspended', 'closed')", name="state_known"),
    CheckConstraint(
        "identifier_kind IN ('RPPS', 'ADELI', 'FINESS', 'SIREN', 'SIRET')",
        name="identifier_kind_known",
    ),
    CheckConstraint("quota >= 0", name="quota_not_negative"),
)

messages = Table(
    "messages",
    metadata,
    # 32 hexadecimal digits that sort by time (UUIDv7-like), made by the caller.
    Column("id", String(32), primary_key=True),
    # The envelope sender; empty for the null sender of reports (RFC 5321 §4.5.5).
    Column("sender", Text, nullable=False),
    Column("blob", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    # Header fields prepended on arrival, with CRLF. Kept out of the blob so that equal bodies are
    # stored once.
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
    # The recipient address as the peer gave it in RCPT.
    Column("recipient", Text, nullable=False),
    Column("delivered_at", UtcTime, nullable=False),
    Index(None, "mailbox_id", "id"),
    # A number, once given, is never given again, even after the last entry was deleted.
    sqlite_autoincrement=True,
)

# Small bodies, in the form that `mailstore.sealed.blob_format` gives blobs. Not a column of
# `messages`: equal bodies are stored once, and what lists messages need not read past them.
bodies = Table(
    "bodies",
    metadata,
    # The SHA-256 of the content.
    Column("blob", LargeBinary(32), primary_key=True),
    # When a message last came to count on it; as a file's time of modification, for its freeing.
    Column("used_at", UtcTime, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    CheckConstraint("length(blob) = 32", name="blob_length"),
)

# One row by which a key file is known to be the store's, also before it holds any message.
store_mark = Table(
    "store_mark",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    # Sealed with the store's keys (`mailstore.sealed.keyring`).
    Column("mark", LargeBinary, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

# One row, whose number changes whenever a mailbox does: what is remembered of mailboxes holds as
# long as it stays.
mailbox_changes = Table(
    "mailbox_changes",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)
