"""References: blobs that messages name, and messages that rows hold.

No reference counters: arriving mail changes nothing, and no counter can be wrong. A single sorted
query reads all references (blob names have no index: it would cost each arriving message, for a
daily query). They go to an unnamed temporary file and are compared with the sorted names of the
store. Memory is constant; no transaction is held during the comparison.
"""

import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from itertools import groupby, islice
from typing import Self

from sqlalchemy import ColumnElement, Connection, delete, exists, select

from mailstore.db.database import Database
from mailstore.db.dialect import disable_statement_timeout, overwrite_deleted
from mailstore.db.schema import messages, metadata
from mailstore.db.summary_schema import summaries

_RECORD = struct.Struct(">32sQ")
_PAGE = 10_000  # rows per fetch
_GROUP = 500  # messages deleted per transaction


class References:
    """Blobs that messages refer to, with the stated sizes, sorted, at a single moment."""

    def __init__(self, database: Database) -> None:
        query = select(messages.c.blob, messages.c.size).order_by(messages.c.blob, messages.c.size)
        with ExitStack() as opened:
            self._file = opened.enter_context(tempfile.TemporaryFile())
            with database.read() as conn:
                disable_statement_timeout(conn)
                rows = conn.execution_options(yield_per=_PAGE).execute(query)
                for (blob, size), _ in groupby(rows):
                    self._file.write(_RECORD.pack(bytes.fromhex(blob), size))
            opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[tuple[str, int]]:
        self._file.seek(0)
        while record := self._file.read(_RECORD.size):
            blob, size = _RECORD.unpack(record)
            yield blob.hex(), size


def compare(
    stored: Iterator[str], referred: Iterator[tuple[str, int]]
) -> Iterator[tuple[str, bool, list[int]]]:
    """Merge sorted names; yield each with "is stored" and the sizes that messages state."""
    name, reference = next(stored, None), next(referred, None)
    while name is not None or reference is not None:
        blob = min(one for one in (name, reference and reference[0]) if one is not None)
        sizes = []
        while reference is not None and reference[0] == blob:
            sizes.append(reference[1])
            reference = next(referred, None)
        yield blob, name == blob, sizes
        if name == blob:
            name = next(stored, None)


def referred_now(database: Database, blobs: Sequence[str]) -> set[str]:
    """Return those of the names that a message refers to, by a single scan of the table."""
    query = select(messages.c.blob).where(messages.c.blob.in_(blobs)).distinct()
    with database.read() as conn:
        disable_statement_timeout(conn)
        return set(conn.scalars(query))


def drop_unneeded(database: Database, before: datetime) -> int:
    """Delete messages received before a time that no row holds; return their number.

    Holders are rows that refer to the message: mailbox entries, deliveries in the queue.
    """
    needless = [messages.c.received_at < before, *map(_no_row_in, _holders())]
    query = select(messages.c.id).where(*needless).order_by(messages.c.id)
    dropped, after = 0, ""
    while True:
        with database.read() as conn:
            disable_statement_timeout(conn)
            found = list(conn.scalars(query.where(messages.c.id > after).limit(_GROUP)))
        if not found:
            return dropped
        with database.write() as conn:
            # A row that refers to such a message by now is seen by the condition or by the foreign
            # key.
            dropped += _delete(conn, found, needless)
        after = found[-1]


def drop_unheld(conn: Connection, ids: list[str]) -> int:
    """Delete those of the messages that no row holds, in a write transaction; their number."""
    return _delete(conn, ids, list(map(_no_row_in, _holders())))


def _delete(conn: Connection, ids: list[str], needless: list[ColumnElement[bool]]) -> int:
    overwrite_deleted(conn)
    # Locked, so that nobody gives one a row between the statements.
    chosen = select(messages.c.id).where(messages.c.id.in_(ids)).order_by(messages.c.id)
    conn.execute(chosen.with_for_update())
    found = list(conn.scalars(chosen.where(*needless)))
    conn.execute(delete(summaries).where(summaries.c.message_id.in_(found)))
    return conn.execute(delete(messages).where(messages.c.id.in_(found))).rowcount


def _holders() -> list[ColumnElement[str]]:
    return [
        key.parent
        for table in metadata.tables.values()
        if table is not summaries  # which goes with its message
        for key in table.foreign_keys
        if key.column is messages.c.id
    ]


def _no_row_in(column: ColumnElement[str]) -> ColumnElement[bool]:
    return ~exists().where(column == messages.c.id)


def grouped(items: Iterator[str], size: int) -> Iterator[list[str]]:
    """Split into lists of `size`; the last list may be shorter."""
    while group := list(islice(items, size)):
        yield group
