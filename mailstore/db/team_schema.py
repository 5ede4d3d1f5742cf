"""Tables of a team's work on messages: assignments, notes, work states, answers.

IMAP, JMAP and web show the same rows. They have no foreign key to the message: it may be in several
mailboxes, and the work is one mailbox's; `drop_team_rows` takes them along.
"""

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    BindParameter,
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    String,
    Table,
    bindparam,
    delete,
    or_,
)

from mailstore.db.dialect import BigId, overwrite_deleted
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

_TABLES: Final = (message_assignments, message_notes, message_work, message_answers)
_MAILBOX: Final[BindParameter[Any]] = bindparam("mailbox")
_MESSAGES: Final[BindParameter[Any]] = bindparam("messages", expanding=True)
_OF_MAILBOX: Final = [delete(table).where(table.c.mailbox_id == _MAILBOX) for table in _TABLES]
_OF_MESSAGES: Final = [
    delete(table).where(
        table.c.mailbox_id == _MAILBOX,
        or_(*(one.in_(_MESSAGES) for one in table.c if one.name in {"message_id", "answer_id"})),
    )
    for table in _TABLES
]


def drop_team_rows(conn: Connection, mailbox_id: int, message_ids: Collection[str] | None) -> None:
    """Delete the rows of messages that the mailbox holds no more, or of the whole mailbox (None).

    Assignments, notes, states, and answers on both sides. The octets of notes are overwritten.
    """
    overwrite_deleted(conn)
    if message_ids is None:
        for statement in _OF_MAILBOX:
            conn.execute(statement, {"mailbox": mailbox_id})
    elif message_ids:
        facts = {"mailbox": mailbox_id, "messages": list(message_ids)}
        for statement in _OF_MESSAGES:
            conn.execute(statement, facts)
