"""A store with mailboxes, mail delivered into them, and views of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from mailstore.blobs.bodies import Bodies
from mailstore.blobs.file_store import FileBlobStore
from mailstore.blobs.store import Store
from mailstore.db.database import Database
from mailstore.mail.view import MailboxView, open_mailbox
from mailstore.mail.view_facts import NewMessage
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox
from mailstore.messages.messages import LocalDelivery, Message, store_messages
from mailstore.messages.messages import NewMessage as Delivered
from mailstore.sealed.row_seal import RowSeal
from tests.support.clock import NOW
from tests.support.storage.blobs import form

TRACE = "Received: from peer\r\n"
SIZE = 1000  # octets of a delivered body
OCTETS = SIZE + len(TRACE)


def open_house(database: Database, folder: Path) -> Store:
    """A store of files and a database, sealed."""
    blobs = FileBlobStore(folder / "blobs", form("encrypted", folder))
    return Store(Bodies(blobs, database, lambda: NOW), database)


def seal_of(store: Store) -> RowSeal:
    return RowSeal(store.blobs.blob_format.keys)


def add_mailboxes(database: Database) -> tuple[int, int]:
    """Two mailboxes without a quota, of one domain; their ids."""
    rpps = Identifier(IdentifierKind.RPPS, "10000001916")
    with database.write() as conn:
        add_domain(conn, "a.mssante.fr", now=NOW)
        one, two = (
            add_mailbox(conn, f"{name}@a.mssante.fr", MailboxType.PER, rpps, now=NOW).id
            for name in "ab"
        )
    return one, two


@dataclass
class MailHouse:
    """Mailboxes `a` and `b` of a domain."""

    store: Store
    a: int = 0
    b: int = 0
    now: datetime = NOW
    count: int = field(default=0)

    @property
    def database(self) -> Database:
        return self.store.database

    def view(self, mailbox_id: int | None = None, account_id: int | None = None) -> MailboxView:
        """A session's view, of `a` if none is named."""
        seal = seal_of(self.store)
        return open_mailbox(self.store, mailbox_id or self.a, seal, lambda: self.now, account_id)

    def next_id(self) -> str:
        self.count += 1
        return f"{self.count:032x}"

    def delivery(self, *mailboxes: int) -> Delivered:
        name = self.next_id()
        message = Message(name, "x@b.fr", "ab" * 32, SIZE, TRACE, "local", "s", self.now)
        return Delivered(message, tuple(LocalDelivery(one, "y@a.fr") for one in mailboxes))

    def deliver(self, count: int = 1, *mailboxes: int) -> list[str]:
        """Deliver messages to mailboxes, `a` if none is named; their ids."""
        new = [self.delivery(*(mailboxes or (self.a,))) for _ in range(count)]
        with self.database.write() as conn:
            store_messages(conn, new, now=self.now)
        return [one.message.id for one in new]

    def letter(self, view: MailboxView, text: bytes = b"hello\r\n", *flags: str) -> NewMessage:
        """A message to append."""
        draft = view.draft()
        draft.write(text)
        return NewMessage(self.next_id(), draft, flags, self.now)


@pytest.fixture
def house(database: Database, tmp_path: Path) -> Iterator[MailHouse]:
    """Two mailboxes without a quota."""
    made = MailHouse(open_house(database, tmp_path), *add_mailboxes(database))
    yield made
    made.store.blobs.close()
