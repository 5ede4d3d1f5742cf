"""A mailbox and bodies of any age, referenced or not, in a store of files."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mailstore.blobs.file_store import FileBlobStore
from mailstore.blobs.gc import GcResult, collect_garbage
from mailstore.db.database import Database
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox
from mailstore.messages.messages import LocalDelivery, Message, NewMessage, store_messages
from relay.queue.enqueue import enqueue
from relay.queue.model import QueueItem
from tests.support.storage.blobs import form

NOW = datetime.now(UTC)
GRACE = timedelta(hours=24)
OLD = NOW - 2 * GRACE
BEFORE = NOW - GRACE


@dataclass
class Stored:
    """A database with one mailbox, and a blob store."""

    database: Database
    blobs: FileBlobStore
    box: int = 0
    count: int = field(default=0)

    def put(self, data: bytes, *, old: bool = True) -> str:
        """A blob, sealed now or long ago."""
        draft = self.blobs.draft()
        draft.write(data)
        (blob,) = self.blobs.seal([draft])
        if old:
            self.age(str(blob))
        return str(blob)

    def age(self, blob: str) -> None:
        os.utime(self.blobs.path(blob), (OLD.timestamp(), OLD.timestamp()))

    def message(
        self, blob: str, size: int, *, held: bool = True, queued: bool = False, at: datetime = OLD
    ) -> str:
        """A message of that blob, in the mailbox, in the queue, in both or in neither."""
        self.count += 1
        message = Message(f"{self.count:032x}", "", blob, size, "", "local", "s", at)
        to = (LocalDelivery(self.box, "x@a.mssante.fr"),) if held else ()
        item = QueueItem(message.id, "b.mssante.fr", ("y@b.mssante.fr",), False, at)
        with self.database.write() as conn:
            store_messages(conn, [NewMessage(message, to)], now=at)
            if queued:
                enqueue(conn, [item])
        return message.id

    def collect(self) -> GcResult:
        return collect_garbage(self.database, self.blobs, BEFORE)


@pytest.fixture
def stored(database: Database, tmp_path: Path) -> Iterator[Stored]:
    blobs = FileBlobStore(tmp_path / "blobs", form("encrypted", tmp_path))
    with database.write() as conn:
        add_domain(conn, "a.mssante.fr", now=NOW)
        rpps = Identifier(IdentifierKind.RPPS, "10000001916")
        box = add_mailbox(conn, "x@a.mssante.fr", MailboxType.PER, rpps, now=NOW)
    yield Stored(database, blobs, box.id)
    blobs.close()
