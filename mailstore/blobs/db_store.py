"""Small bodies in the database, each once, in the form that blobs have.

A file for each small body costs more than its octets: making it, naming it and syncing both.  In
the database it shares the commit of the message that names it, so that neither is ever without the
other.  Each row says when a message last came to count on it; one is freed only if that was long
ago, by a single statement, which PostgreSQL looks at anew after whoever was changing the row.
It says so by PostgreSQL's clock, or a later one: a machine whose own is a day behind would mark
what it has just stored as long unused, and another one free it.
"""

import io
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import BinaryIO, Final

from sqlalchemy import Connection, bindparam, delete, func, select

from mailstore.db.bulk_insert import Inserter
from mailstore.db.database import Database
from mailstore.db.schema import bodies, microseconds
from mailstore.errors import NotFound
from mailstore.sealed.blob_format import HEADER, Header
from mailstore.sealed.blob_reader import open_content, read_header
from mailstore.sealed.keyring import Keyring

_PAGE: Final = 1000  # names fetched at a time

_COLUMNS: Final = ("blob", "used_at", "sealed")
_USE: Final = Inserter(
    bodies, _COLUMNS, "ON CONFLICT (blob) DO UPDATE SET used_at = excluded.used_at", used="used_at"
)
_REPLACE: Final = Inserter(
    bodies,
    _COLUMNS,
    "ON CONFLICT (blob) DO UPDATE SET used_at = excluded.used_at, sealed = excluded.sealed",
    used="used_at",
)
_SEALED: Final = select(bodies.c.blob, bodies.c.sealed).where(
    bodies.c.blob.in_(bindparam("names", expanding=True))
)


def keep(
    conn: Connection, new: Sequence[tuple[str, bytes]], *, now: datetime, anew: bool = False
) -> None:
    """Insert bodies by name; those that are here are marked as used, or with `anew` replaced."""
    # A name twice in one statement is an error to PostgreSQL, and locks in the order of names never
    # wait for each other in a circle.
    rows = [
        (bytes.fromhex(name), microseconds(now), sealed)
        for name, sealed in sorted(dict(new).items())
    ]
    (_REPLACE if anew else _USE).insert(conn, rows)


class SmallBodies:
    """The bodies in a database; `keys` open them. Raises StoreUnavailable throughout."""

    def __init__(self, database: Database, keys: Keyring | None) -> None:
        self._database = database
        self._keys = keys

    def open(self, blob: str) -> BinaryIO:
        """The content of a body, as `BlobStore.open`."""
        return self.unseal(blob, self._read(blob))

    def sealed(self, blobs: Collection[str]) -> dict[str, bytes]:
        """Bodies in the form in which they are kept, by name; those that are not here lack."""
        names = [bytes.fromhex(blob) for blob in blobs]
        with self._database.read() as conn:
            found = conn.execute(_SEALED, {"names": names})
            return {bytes(name).hex(): bytes(sealed) for name, sealed in found}

    def unseal(self, blob: str, sealed: bytes) -> BinaryIO:
        """The content of a body in that form, as `BlobStore.open`."""
        return open_content(io.BytesIO(sealed), blob, self._keys)

    def header(self, blob: str) -> Header | None:
        """What a body says of itself, unverified. Raises NotFound and BlobDamaged."""
        return read_header(io.BytesIO(self._read(blob, HEADER)))

    def exists(self, blob: str) -> bool:
        """Tell whether a body is here."""
        query = select(bodies.c.used_at).where(bodies.c.blob == bytes.fromhex(blob))
        with self._database.read() as conn:
            return conn.scalar(query) is not None

    def names(self) -> Iterator[str]:
        """The names of all bodies, in order; no transaction is held meanwhile."""
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
        """Whether a body is here that nobody came to count on since a time."""
        query = select(bodies.c.used_at).where(bodies.c.blob == bytes.fromhex(blob))
        with self._database.read() as conn:
            used_at = conn.scalar(query)
        return used_at is not None and used_at < time

    def free(self, blob: str, unused_since: datetime) -> int | None:
        """Remove a body unless it was used since; its octets if it was removed."""
        unused = (bodies.c.blob == bytes.fromhex(blob)) & (bodies.c.used_at < unused_since)
        statement = delete(bodies).where(unused).returning(func.length(bodies.c.sealed))
        with self._database.write() as conn:
            return conn.scalar(statement)

    def sample(self, limit: int) -> list[str]:
        """So many names, for a look at them."""
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
