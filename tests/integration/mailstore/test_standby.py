"""A standby is never read: it may be days behind, and its answers do not show it."""

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailstore.blobs.file_store import FileBlobStore
from mailstore.blobs.gc import GRACE, collect_garbage
from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox, resolve
from mailstore.messages.messages import LocalDelivery, Message, NewMessage, store_messages
from mailstore.sealed.blob_format import BlobFormat
from tests.support.db.replicas import Pair

NOW = datetime.now(UTC)
ADDRESS = "x@a.mssante.fr"
RPPS = Identifier(IdentifierKind.RPPS, "10000001916")


@pytest.fixture
def blobs(tmp_path: Path) -> Iterator[FileBlobStore]:
    with closing(FileBlobStore(tmp_path / "blobs", BlobFormat())) as made:
        yield made


def test_a_standby_that_is_behind_frees_nothing_and_knows_nobody(
    pair: Pair, blobs: FileBlobStore
) -> None:
    # The URL leads there: it has two hosts, and the old primary has returned as a standby.
    name = pair.database()
    draft = blobs.draft()
    draft.write(b"kept in a mailbox for days")
    pair.lag()
    (blob,) = map(str, blobs.seal([draft]))
    old = NOW - 2 * GRACE
    os.utime(blobs.path(blob), (old.timestamp(), old.timestamp()))
    with closing(Database(pair.primary.url(name))) as database, database.write() as connection:
        add_domain(connection, "a.mssante.fr", now=old)
        box = add_mailbox(connection, ADDRESS, MailboxType.PER, RPPS, now=old)
        message = Message("0" * 32, "", blob, 26, "", "local", "s", old)
        new = NewMessage(message, (LocalDelivery(box.id, ADDRESS),))
        store_messages(connection, [new], now=old)
    with closing(Database(pair.standby.url(name))) as database:
        with pytest.raises(StoreUnavailable, match="is a standby"):
            collect_garbage(database, blobs, NOW - GRACE)
        with pytest.raises(StoreUnavailable, match="is a standby"), database.read() as connection:
            resolve(connection, [ADDRESS])
    assert blobs.exists(blob)


def test_it_is_read_once_it_is_promoted(pair: Pair) -> None:
    name = pair.database()
    with closing(Database(pair.standby.url(name))) as database:
        with pytest.raises(StoreUnavailable, match="is a standby"), database.read():
            pass
        pair.fail_over()
        with database.read() as connection:
            assert resolve(connection, [ADDRESS]) == {}
