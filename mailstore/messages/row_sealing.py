"""Sealing the rows of a table anew: what stands in clear, or was sealed with an older key.

A walk over the primary key, a page at a time, beside the daemon and beside other machines: a value
is replaced only if it is still as it was read. Each page is a short transaction, with the progress
in it: a walk that was broken off goes on behind its last page. A value whose key is missing stays.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Table, Text, bindparam, select, update

from foundation.failpoints import failpoint
from foundation.privacy import mask_of
from foundation.unreadable_text import SEALED, UnreadableText
from mailstore.db.database import Database
from mailstore.db.dialect import insert_or_ignore, overwrite_deleted
from mailstore.db.schema import MaskedText, row_sealing
from mailstore.db.sealed_columns import (
    SealedAddress,
    SealedText,
    TextSeal,
    raw,
)

PAGE: Final = 1000  # rows read at once: some milliseconds
_P = row_sealing.c


@dataclass(frozen=True, slots=True)
class SealedPage:
    """Result of a page: values replaced, and whether the table has more rows."""

    replaced: int
    more: bool


class TableSealing:
    """Seals the rows of one table. Raises ValueError for a table without sealed columns."""

    def __init__(self, table: Table, database: Database) -> None:
        self.table = table
        self._database = database
        (self._key,) = table.primary_key.columns
        self._sealed: list[tuple[str, SealedText]] = [
            (column.name, column.type) for column in table.c if isinstance(column.type, SealedText)
        ]
        if not self._sealed:
            message = f"{table.name} has no sealed column"
            raise ValueError(message)
        self._masked = [column.name for column in table.c if isinstance(column.type, MaskedText)]
        self._columns = [*(name for name, _ in self._sealed), *self._masked]
        self._page = (
            select(self._key, *(raw(table.c[name]).label(name) for name in self._columns))
            .order_by(self._key)
            .limit(PAGE)
        )

    @property
    def finished(self) -> bool:
        """Whether the walk has reached the end of the table before."""
        with self._database.read() as conn:
            query = select(_P.finished_at).where(_P.name == self.table.name)
            return conn.scalar(query) is not None

    def next_page(self, now: datetime) -> SealedPage:
        """Do the next page and keep the progress; `now`: the time of the end.

        Raises StoreUnavailable.
        """
        with self._database.read() as conn:
            after = conn.scalar(select(_P.after).where(_P.name == self.table.name)) or ""
            rows = conn.execute(self._from(after)).all()
        more = len(rows) == PAGE
        last = str(rows[-1][0]) if rows else after
        with self._database.write() as conn:
            replaced = self._replace(conn, rows)
            _keep(conn, self.table.name, last, None if more else now)
            failpoint("sealing.page")
        failpoint("sealing.kept")
        return SealedPage(replaced, more)

    def whole(self, progress: Callable[[int], None] = lambda _: None) -> int:
        """Do all rows at once, also if that was done before; returns the number of values."""
        after, done = "", 0
        while True:
            with self._database.read() as conn:
                rows = conn.execute(self._from(after)).all()
            if not rows:
                return done
            if self._changes(rows):
                with self._database.write() as conn:
                    done += self._replace(conn, rows)
                    failpoint("sealing.page")
                failpoint("sealing.kept")
            after = str(rows[-1][0])
            progress(done)

    def _from(self, after: str) -> Any:
        if not after:
            return self._page
        return self._page.where(self._key > self._key.type.python_type(after))

    def _changes(self, rows: Sequence[Any]) -> list[tuple[Any, str, str, str]]:
        """Changes as key, column, old value, new value."""
        seal = self._database.seal
        found = []
        for row in rows:
            values = row._mapping
            texts: list[str] = []
            for name, kind in self._sealed:
                before = values[name]
                if before is None:
                    continue
                after, text = _resealed(before, kind, seal)
                if after != before:
                    found.append((row[0], name, before, after))
                if isinstance(kind, SealedAddress):
                    texts.append(text)
            for name in self._masked:
                before = values[name]
                if before and (after := mask_of(before, texts)) != before:
                    found.append((row[0], name, before, after))
        return found

    def _replace(self, conn: Connection, rows: Sequence[Any]) -> int:
        changes = self._changes(rows)
        if changes:
            overwrite_deleted(conn)
        done = 0
        for key, name, before, after in changes:
            column = self.table.c[name]
            # As it is stored: neither value is sealed or masked again on its way.
            stored = bindparam("stored", after, type_=Text())
            done += conn.execute(
                update(self.table)
                .where(self._key == key, raw(column) == before)
                .values({column: stored})
            ).rowcount
        return done


def _resealed(value: str, kind: SealedText, seal: TextSeal) -> tuple[str, str]:
    """A stored value as it should be stored, and its text."""
    if not value.startswith(SEALED):
        return (seal.seal(value, kind.column) if kind.hides(value) else value), value
    text = seal.open(value, kind.column)
    if isinstance(text, UnreadableText) or seal.is_newest(value):
        return value, text
    return seal.seal(text, kind.column), text


def _keep(conn: Connection, name: str, after: str, finished_at: datetime | None) -> None:
    values = {"after": after, "finished_at": finished_at}
    if not conn.execute(update(row_sealing).where(_P.name == name).values(values)).rowcount:
        conn.execute(insert_or_ignore(conn, row_sealing).values(name=name, **values))


def sealed_tables(tables: Sequence[Table], database: Database) -> list[TableSealing]:
    """The tables that have sealed columns."""
    return [
        TableSealing(table, database)
        for table in tables
        if any(isinstance(column.type, SealedText) for column in table.c)
    ]


class CleanFile:
    """Whether the database's file was cleaned of what stood there before."""

    _NAME: Final = "*"

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def finished(self) -> bool:
        """Whether nothing is to be done any more."""
        with self._database.read() as conn:
            query = select(_P.finished_at).where(_P.name == self._NAME)
            return conn.scalar(query) is not None

    def finish(self, now: datetime) -> None:
        """Note that nothing is to be done any more."""
        with self._database.write() as conn:
            _keep(conn, self._NAME, "", now)
