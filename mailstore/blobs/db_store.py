"""Small bodies in the database, each stored once, in the form of blobs.

A file for a small body costs more than its octets: creation, rename and fsync of both. In the
database, a body shares the commit of its message, so that neither exists without the other.

Each row has the time of its last use by a message. A body is freed only if that is long ago, by a
single statement, which PostgreSQL evaluates again after a concurrent change of the row. The time of
use is PostgreSQL's clock or the machine's, whichever is later: a machine a day behind would mark
new bodies as long unused, and another machine would free them.
"""

import io
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import BinaryIO, Final

from sqlalchemy import Connection, bindparam, delete, func, select

from mailstore.db.bulk_insert import BulkInsert
from mailstore.db.database import Database
from mailstore.db.dialect import overwrite_deleted
from mailstore.db.schema import bodies, microseconds
from mailstore.errors import NotFound
from mailstore.sealed.blob_format import HEADER, BlobHeader
from mailstore.sealed.blob_reader import content_of, open_content, read_header
from mailstore.sealed.keyring import Keyring

_PAGE: Final = 1000  # names per query

_COLUMNS: Final = ("blob", "used_at", "sealed")
_USE: Final = BulkInsert(
    bodies, _COLUMNS, "ON CONFLICT (blob) DO UPDATE SET used_at = excluded.used_at", used="used_at"
)
_REPLACE: Final = BulkInsert(
    bodies,
    _COLUMNS,
    "ON CONFLICT (blob) DO UPDATE SET used_at = excluded.used_at, sealed = excluded.sealed",
    used="used_at",
)
_SEALED: Final = select(bodies.c.blob, bodies.c.sealed).where(
    bodies.c.blob.in_(bindparam("names", expanding=True))
)


def insert_bodies(
    conn: Connection, new: Sequence[tuple[str, bytes]], *, now: datetime, anew: bool = False
) -> None:
    """Insert bodies by name; an existing body is marked as used, or replaced if `anew`."""
    # PostgreSQL refuses a name twice in a statement. Sorted names prevent deadlocks.
    rows = [
        (bytes.fromhex(name), microseconds(now), sealed)
        for name, sealed in sorted(dict(new).items())
    ]
    (_REPLACE if anew else _USE).insert(conn, rows)


class DbBlobStore:
    """The small bodies in a database; `keys` open them. All methods raise StoreUnavailable."""

    def __init__(self, database: Database, keys: Keyring | None) -> None:
        self._database = database
        self._keys = keys

    def open(self, blob: str) -> BinaryIO:
        """Open the content of a body; see `BlobStore.open`."""
        return self.unseal(blob, self._read(blob))

    def sealed(self, blobs: Collection[str]) -> dict[str, bytes]:
        """Return the sealed octets of bodies by name; unknown names are missing."""
        names = [bytes.fromhex(blob) for blob in blobs]
        with self._database.read() as conn:
            # The driver's tuples: SQLAlchemy's rows take as long again as the reading.
            rows = conn.execute(_SEALED, {"names": names}).cursor.fetchall()
            return {name.hex(): sealed for name, sealed in rows}

    def unseal(self, blob: str, sealed: bytes) -> BinaryIO:
        """Open the content of a sealed body; see `BlobStore.open`."""
        return open_content(io.BytesIO(sealed), blob, self._keys)

    def content(self, blob: str, sealed: bytes) -> bytes:
        """The whole content of a sealed body; errors as `unseal` and its reading."""
        return content_of(sealed, blob, self._keys)

    def header(self, blob: str) -> BlobHeader | None:
        """Header of a body, unverified. Raises NotFound and BlobDamaged."""
        return read_header(io.BytesIO(self._read(blob, HEADER)))

    def exists(self, blob: str) -> bool:
        """True if the body is stored."""
        query = select(bodies.c.used_at).where(bodies.c.blob == bytes.fromhex(blob))
        with self._database.read() as conn:
            return conn.scalar(query) is not None

    def names(self) -> Iterator[str]:
        """The names of all bodies, sorted; no transaction is held in between."""
        query = select(bodies.c.blob).order_by(bodies.c.blob).limit(_PAGE)
        last = b""
        while True:
            with self._database.read() as conn:
                found = [bytes(name) for name in conn.scalars(query.where(bodies.c.blob > last))]
            if not found:
                return
            yield from map(bytes.hex, found)
            last = found[-1]

    def unused_since(self, blob: str, time: datetime) -> bool:
        """True if a body is stored and was not used since a time."""
        query = select(bodies.c.used_at).where(bodies.c.blob == bytes.fromhex(blob))
        with self._database.read() as conn:
            used_at = conn.scalar(query)
        return used_at is not None and used_at < time

    def free(self, blob: str, unused_since: datetime) -> int | None:
        """Remove a body unless it was used since a time; return its octets, or None."""
        unused = (bodies.c.blob == bytes.fromhex(blob)) & (bodies.c.used_at < unused_since)
        statement = delete(bodies).where(unused).returning(func.length(bodies.c.sealed))
        with self._database.write() as conn:
            overwrite_deleted(conn)
            return conn.scalar(statement)

    def sample(self, limit: int) -> list[str]:
        """Return up to `limit` names, in no order."""
        with self._database.read() as conn:
            return [bytes(name).hex() for name in conn.scalars(select(bodies.c.blob).limit(limit))]

    def _read(self, blob: str, octets: int | None = None) -> bytes:
        sealed = bodies.c.sealed if octets is None else func.substr(bodies.c.sealed, 1, octets)
        query = select(sealed).where(bodies.c.blob == bytes.fromhex(blob))
        with self._database.read() as conn:
            found = conn.scalar(query)
        if found is None:
            raise NotFound(f"the body {blob} is not in the database")
        return bytes(found)
