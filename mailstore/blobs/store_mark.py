"""Mark of a store in its database: recognises a wrong key file.

A key file of another store, or a new one, would write bodies that the other machines cannot read;
in an empty store nothing would show it. So the store has a name of 32 random hexadecimal digits,
sealed like a body: it opens only with the store's keys. The same name stands in clear where the
bodies are (`BlobStore.place_mark`), to recognise a wrong place.
"""

import hashlib
import io
import re
import secrets
from typing import Final

from sqlalchemy import Connection, select, update

from mailstore.db.bulk_insert import BulkInsert
from mailstore.db.database import Database
from mailstore.db.schema import messages, store_mark
from mailstore.errors import BlobDamaged
from mailstore.sealed.blob_format import HEADER, BlobFormat, BlobHeader
from mailstore.sealed.blob_reader import open_content
from mailstore.sealed.keyring import Keyring

_DIGEST: Final = 32  # octets in front: the digest to which the sealed octets are bound
_NEVER_SMALL: Final = 1024 * 1024  # octets; larger bodies are never in a database
_SAMPLE: Final = 20
_NAME: Final = re.compile(r"[0-9a-f]{32}")
_INSERT: Final = BulkInsert(store_mark, ("id", "mark"), "ON CONFLICT (id) DO NOTHING")


def new_name() -> str:
    """Return a new random name for a store."""
    return secrets.token_hex(16)


def is_name(text: str) -> bool:
    """True if the text has the form of a store's name."""
    return _NAME.fullmatch(text) is not None


def seal(store: str, form: BlobFormat) -> bytes:
    """Return the mark of a store, in the form of its new bodies."""
    content = store.encode("ascii")
    digest = hashlib.sha256(content)
    sealer = BlobFormat(form.keys, None, encrypt=form.encrypt).sealer()
    parts = sealer.segments(memoryview(content), last=True)
    header = sealer.header(digest.hexdigest(), len(content))
    return b"".join((digest.digest(), header, *parts))


def unseal(mark: bytes, keys: Keyring | None) -> str:
    """Return the name of the store. Raises KeyMissing for other keys, and BlobDamaged."""
    digest, sealed = mark[:_DIGEST], mark[_DIGEST:]
    with open_content(io.BytesIO(sealed), digest.hex(), keys) as content:
        name = content.read().decode("ascii", "replace")
    if not is_name(name):
        raise BlobDamaged("it is no name of a store")
    return name


def key_of(mark: bytes) -> bytes | None:
    """Identifier of the key of the mark's seal, None without. Raises BlobDamaged."""
    header = BlobHeader.parse(mark[_DIGEST : _DIGEST + HEADER])
    return None if header is None else header.key_id


def read(connection: Connection) -> bytes | None:
    """The mark of the database, None if absent."""
    found = connection.scalar(select(store_mark.c.mark))
    return None if found is None else bytes(found)


def put(database: Database, mark: bytes) -> bytes:
    """Mark an unmarked database; return its mark now, which may be another machine's."""
    with database.write() as connection:
        _INSERT.insert(connection, [(1, mark)])
    # A second transaction, to see which machine was first.
    with database.read() as connection:
        found = read(connection)
    return mark if found is None else found


def replace(database: Database, before: bytes, mark: bytes) -> None:
    """Replace a mark, unless another process has done so."""
    with database.write() as connection:
        same = store_mark.c.mark == before
        connection.execute(update(store_mark).where(same).values(mark=mark))


def large_bodies(connection: Connection) -> list[str]:
    """Names of some bodies that are never in the database, whatever the limit of small bodies."""
    large = select(messages.c.blob).where(messages.c.size > _NEVER_SMALL).limit(_SAMPLE)
    return list(connection.scalars(large))


def has_messages(connection: Connection) -> bool:
    """True if the store has any message."""
    return connection.scalar(select(messages.c.id).limit(1)) is not None
