"""Which blobs are needed: those that a message names; which messages are: those that a row holds.

No counters are kept: nothing has to be changed when mail arrives, and nothing can be wrong by one.
All references are taken in one sorted query (blob names have no index: it would cost each message
that arrives, for the sake of one look a day), put into an unnamed temporary file, and compared with
the sorted walk of the store. Memory is constant, and no transaction is held during the walk.
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
from mailstore.db.dialect import take_your_time
from mailstore.db.schema import messages, metadata

_RECORD = struct.Struct(">32sQ")
_PAGE = 10_000  # rows fetched at a time
_GROUP = 500  # messages deleted in one transaction


class References:
    """The names that messages refer to with the sizes they state, sorted, as of one moment."""

    def __init__(self, database: Database) -> None:
        query = select(messages.c.blob, messages.c.size).order_by(messages.c.blob, messages.c.size)
        with ExitStack() as opened:
            self._file = opened.enter_context(tempfile.TemporaryFile())
            with database.read() as conn:
                take_your_time(conn)
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
    """Merge sorted names: each with whether it is stored, and the sizes that messages state."""
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
    """Those of the names that a message refers to; walks the table once for all of them."""
    query = select(messages.c.blob).where(messages.c.blob.in_(blobs)).distinct()
    with database.read() as conn:
        take_your_time(conn)
        return set(conn.scalars(query))


def drop_unneeded(database: Database, before: datetime) -> int:
    """Delete messages received before a time that nothing holds any more; their number.

    What holds a message is any row that refers to it: a mailbox's entry, a delivery in the queue.
    """
    needless = [messages.c.received_at < before, *map(_no_row_in, _holders())]
    query = select(messages.c.id).where(*needless).order_by(messages.c.id)
    dropped, after = 0, ""
    while True:
        with database.read() as conn:
            take_your_time(conn)
            found = list(conn.scalars(query.where(messages.c.id > after).limit(_GROUP)))
        if not found:
            return dropped
        with database.write() as conn:
            # What has come to hold one of them meanwhile is seen by the condition, or refused by
            # the foreign key.
            dropped += _delete(conn, found, needless)
        after = found[-1]


def _delete(conn: Connection, ids: list[str], needless: list[ColumnElement[bool]]) -> int:
    return conn.execute(delete(messages).where(messages.c.id.in_(ids), *needless)).rowcount


def _holders() -> list[ColumnElement[str]]:
    return [
        key.parent
        for table in metadata.tables.values()
        for key in table.foreign_keys
        if key.column is messages.c.id
    ]


def _no_row_in(column: ColumnElement[str]) -> ColumnElement[bool]:
    return ~exists().where(column == messages.c.id)


def grouped(items: Iterator[str], size: int) -> Iterator[list[str]]:
    """Cut into lists of that many, the last one shorter."""
    while group := list(islice(items, size)):
        yield group
