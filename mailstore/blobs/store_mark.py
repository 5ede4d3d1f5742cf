"""The mark of a store, in its database: by it a key file is known to be the store's, or not to be.

A key file that is another store's, or was made anew, writes bodies that the other machines cannot
read, and is noticed by nothing as long as the store is empty.  So the store has a name, 32 random
hexadecimal digits, sealed as a body is: whoever cannot open it has not the store's keys.  The same
name stands in the clear where bodies are (`BlobStore.place_mark`), so that a place is known, too.
"""

import hashlib
import io
import re
import secrets
from typing import Final

from sqlalchemy import Connection, select, update

from mailstore.db.bulk_insert import Inserter
from mailstore.db.database import Database
from mailstore.db.schema import messages, store_mark
from mailstore.errors import BlobDamaged
from mailstore.sealed.blob_format import HEADER, Form, Header
from mailstore.sealed.blob_reader import open_content
from mailstore.sealed.keyring import Keyring

_DIGEST: Final = 32  # octets in front: the name that the sealed octets are bound to
_NEVER_SMALL: Final = 1024 * 1024  # octets; a body of more is in no database
_SAMPLE: Final = 20
_NAME: Final = re.compile(r"[0-9a-f]{32}")
_INSERT: Final = Inserter(store_mark, ("id", "mark"), "ON CONFLICT (id) DO NOTHING")


def new_name() -> str:
    """A name for a store that has none."""
    return secrets.token_hex(16)


def is_name(text: str) -> bool:
    """Whether it is a name of a store."""
    return _NAME.fullmatch(text) is not None


def seal(store: str, form: Form) -> bytes:
    """The mark of a store, in the form that its new bodies have."""
    content = store.encode("ascii")
    digest = hashlib.sha256(content)
    sealer = Form(form.keys, None, encrypt=form.encrypt).sealer()
    parts = sealer.segments(memoryview(content), last=True)
    header = sealer.header(digest.hexdigest(), len(content))
    return b"".join((digest.digest(), header, *parts))


def unseal(mark: bytes, keys: Keyring | None) -> str:
    """The name of the store.  Raises KeyMissing for keys that are not its, and BlobDamaged."""
    digest, sealed = mark[:_DIGEST], mark[_DIGEST:]
    with open_content(io.BytesIO(sealed), digest.hex(), keys) as content:
        name = content.read().decode("ascii", "replace")
    if not is_name(name):
        raise BlobDamaged("it is no name of a store")
    return name


def key_of(mark: bytes) -> bytes | None:
    """The name of the key that it is sealed with, None without.  Raises BlobDamaged."""
    header = Header.parse(mark[_DIGEST : _DIGEST + HEADER])
    return None if header is None else header.key_id


def read(connection: Connection) -> bytes | None:
    """The mark of the database, None if it has none yet."""
    found = connection.scalar(select(store_mark.c.mark))
    return None if found is None else bytes(found)


def put(database: Database, mark: bytes) -> bytes:
    """Mark the database unless it is; returns the mark that it has now, maybe another's."""
    with database.write() as connection:
        _INSERT.insert(connection, [(1, mark)])
    # In a transaction of its own: it sees who was first.
    with database.read() as connection:
        found = read(connection)
    return mark if found is None else found


def replace(database: Database, before: bytes, mark: bytes) -> None:
    """Seal a mark anew, unless somebody did so meanwhile."""
    with database.write() as connection:
        same = store_mark.c.mark == before
        connection.execute(update(store_mark).where(same).values(mark=mark))


def large_bodies(connection: Connection) -> list[str]:
    """Some names of bodies that are in no database, whatever the limit of small ones."""
    large = select(messages.c.blob).where(messages.c.size > _NEVER_SMALL).limit(_SAMPLE)
    return list(connection.scalars(large))


def has_messages(connection: Connection) -> bool:
    """Whether the store has any message."""
    return connection.scalar(select(messages.c.id).limit(1)) is not None
