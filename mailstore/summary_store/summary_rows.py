"""Rows of summaries: one for each message, sealed, shared by all mailboxes that hold it.

A row is bound to its message, so that nobody who has the database alone can move it. Functions take
a connection in a transaction. The row goes with its message (`mailstore.blobs.references`).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, exists, select

from mailstore.db.bulk_insert import BulkInsert
from mailstore.db.folder_schema import folder_messages
from mailstore.db.listed import listed_texts
from mailstore.db.schema import messages
from mailstore.db.summary_schema import summaries
from mailstore.sealed.row_seal import RowSeal
from mailstore.summaries.model import VERSION

AT_ONCE: Final = 500  # parameters of a statement

_ROWS: Final = summaries.c
_FIND: Final = select(_ROWS.message_id, _ROWS.sealed).where(
    listed_texts(_ROWS.message_id, "ids"), _ROWS.version == VERSION
)
_FIND_HELD: Final = _FIND.where(
    exists().where(
        folder_messages.c.mailbox_id == bindparam("mailbox"),
        folder_messages.c.message_id == _ROWS.message_id,
    )
)
# Locked as by a foreign key: a message that another machine drops meanwhile is left out.
_EXISTING: Final = (
    select(messages.c.id)
    .where(messages.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(messages.c.id)
    .with_for_update(key_share=True, read=True)
)
# Made by another machine meanwhile: left as it is; made by an older reader: replaced.
_KEEP: Final = BulkInsert(
    summaries,
    ("message_id", "version", "sealed"),
    "ON CONFLICT (message_id) DO UPDATE SET version = excluded.version, sealed = excluded.sealed"
    " WHERE summaries.version < excluded.version",
)


def summary_bound(message_id: str) -> bytes:
    """Facts that a sealed summary is bound to."""
    return b"summaries\0" + message_id.encode("ascii")


def sealed_summaries(
    conn: Connection, message_ids: Collection[str], mailbox_id: int | None = None
) -> dict[str, bytes]:
    """Sealed summaries of this version's reader, by message id; missing if there is none.

    `mailbox_id`: of messages that are in a folder of the mailbox alone.
    """
    query = _FIND if mailbox_id is None else _FIND_HELD
    asked = {"ids": message_ids, "mailbox": mailbox_id}
    # The driver's tuples: SQLAlchemy's rows take as long again as the reading.
    return dict(conn.execute(query, asked).cursor.fetchall())


def seal_summaries(made: Mapping[str, bytes], seal: RowSeal) -> dict[str, bytes]:
    """Seal summaries (octets by message id), outside of any transaction."""
    return {
        message_id: seal.seal_octets(octets, summary_bound(message_id))
        for message_id, octets in made.items()
    }


def keep_summaries(conn: Connection, sealed: Mapping[str, bytes]) -> None:
    """Insert sealed summaries by message id, in a write transaction.

    Messages that are gone by now are left out.
    """
    for ids in grouped(sorted(sealed)):
        there = conn.scalars(_EXISTING, {"ids": ids})
        _KEEP.insert(conn, [(one, VERSION, sealed[one]) for one in there])


def grouped(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Lists of at most `AT_ONCE`."""
    for start in range(0, len(ids), AT_ONCE):
        yield ids[start : start + AT_ONCE]
