"""Names of folders and of keywords sealed anew with the newest key, so that older keys can go.

In small transactions: a kill loses nothing, and the next run goes on. A name that cannot be opened
stays as it is, and does not stop the others. Its hash is made anew with it. Clients see no change.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Table, select, tuple_, update

from foundation.failpoints import failpoint
from mailstore.db.database import Database
from mailstore.db.dialect import overwrite_deleted
from mailstore.db.folder_schema import folders, keywords
from mailstore.errors import KeyMissing, SealBroken
from mailstore.folders.keywords import keyword_bound
from mailstore.folders.tree import folder_bound
from mailstore.sealed.row_seal import RowSeal

_AT_ONCE: Final = 200


@dataclass(frozen=True, slots=True)
class _Names:
    """A table of names: its key, the rows that have a name, the text that is hashed."""

    table: Table
    key: tuple[ColumnElement[int], ...]
    named: ColumnElement[bool]
    bound: Callable[[int], bytes]
    hashed: Callable[[str], str]


_TABLES: Final = (
    _Names(folders, (folders.c.id,), folders.c.removed_modseq.is_(None), folder_bound, str),
    _Names(
        keywords,
        (keywords.c.mailbox_id, keywords.c.bit),
        keywords.c.bit >= 0,
        keyword_bound,
        str.lower,
    ),
)


def reseal_names(database: Database, seal: RowSeal) -> int:
    """Seal anew what an older key sealed; the number of names. Raises StoreUnavailable."""
    if seal.keys is not None:
        seal.keys.refresh()
    return sum(_reseal(database, seal, names) for names in _TABLES)


def _reseal(database: Database, seal: RowSeal, names: _Names) -> int:
    row, place = names.table.c, tuple_(*names.key)
    query = (
        select(row.mailbox_id, row.name, *(one.label(f"key{i}") for i, one in enumerate(names.key)))
        .where(names.named)
        .order_by(*names.key)
        .limit(_AT_ONCE)
    )
    done, page = 0, query
    while True:
        with database.read() as conn:
            found = conn.execute(page).all()
        if not found:
            return done
        new = [again for one in found if (again := _again(one, seal, names))]
        if new:
            with database.write() as conn:
                overwrite_deleted(conn)
                done += sum(_replace(conn, names.table, *again) for again in new)
                failpoint("names.resealed")
        page = query.where(place > tuple(found[-1][2:]))


def _again(
    row: Row[Any], seal: RowSeal, names: _Names
) -> tuple[list[ColumnElement[bool]], dict[str, bytes]] | None:
    """Condition and values of a row under the newest key; None if it stays as it is."""
    before, bound = bytes(row.name), names.bound(row.mailbox_id)
    if seal.is_newest(before):
        return None
    try:
        name = seal.open(before, bound)
    except (KeyMissing, SealBroken):
        return None
    # A name that was changed meanwhile was sealed with the newest key.
    place: tuple[int, ...] = tuple(row[2:])
    same = [one == value for one, value in zip(names.key, place, strict=True)]
    values = {"name": seal.seal(name, bound), "name_hash": seal.hash(names.hashed(name), bound)}
    return [*same, names.table.c.name == before], values


def _replace(
    conn: Connection, table: Table, same: list[ColumnElement[bool]], values: dict[str, bytes]
) -> int:
    return conn.execute(update(table).where(*same).values(values)).rowcount
