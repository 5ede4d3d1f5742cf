"""A sealed store with two mailboxes, into which letters with real bodies are delivered."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from foundation.ids import RANDOM_OCTETS, new_id
from mailstore.blobs.bodies import Bodies, PreparedBody
from mailstore.blobs.file_store import FileBlobStore
from mailstore.blobs.store import Store
from mailstore.db.database import Database
from mailstore.mail.reader import MailboxReader, open_reader
from mailstore.mail.view import MailboxView, open_mailbox
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox
from mailstore.messages.messages import LocalDelivery, Message, NewMessage, store_messages
from mailstore.sealed.row_seal import RowSeal
from tests.support.clock import NOW
from tests.support.storage.blobs import form

TRACE = "Received: from peer\r\n"
RPPS = Identifier(IdentifierKind.RPPS, "10000001916")


def letter(subject: str = "bonjour", text: str = "Texte.\r\n", **fields: str) -> bytes:
    """A plain message in UTF-8; `fields` are further header fields, `_` for `-`."""
    head = {
        "From": "Claire Martin <claire@b.mssante.fr>",
        "To": "a@a.mssante.fr",
        "Date": "Sun, 22 Nov 2026 10:11:12 +0100",
        "Subject": subject,
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Transfer-Encoding": "8bit",
    } | {name.replace("_", "-"): value for name, value in fields.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return f"{lines}\r\n{text}".encode()


@dataclass
class Letters:
    """Mailboxes `a` and `b`; each delivery is a second later than the one before."""

    store: Store
    a: int
    b: int
    count: int = field(default=0)

    @property
    def database(self) -> Database:
        return self.store.database

    @property
    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.count)

    @property
    def seal(self) -> RowSeal:
        return RowSeal(self.store.blobs.blob_format.keys)

    def deliver(
        self, *texts: bytes, to: tuple[int, ...] = (), sender: str = "claire@b.mssante.fr"
    ) -> list[str]:
        """Deliver messages to mailboxes, `a` if none is named; their ids."""
        ids = []
        for text in texts:
            self.count += 1
            draft = self.store.blobs.draft()
            draft.write(text)
            (body,) = self.store.blobs.prepare([draft])
            assert isinstance(body, PreparedBody)
            name = new_id(self.now, self.count.to_bytes(RANDOM_OCTETS, "big"))
            message = Message(name, sender, body.blob, len(text), TRACE, "local", "s", self.now)
            copies = tuple(LocalDelivery(one, "y@a.mssante.fr") for one in to or (self.a,))
            with self.database.write() as conn:
                self.store.blobs.keep(conn, [body], now=self.now)
                store_messages(conn, [NewMessage(message, copies)], now=self.now)
            ids.append(name)
        return ids

    def view(self, mailbox_id: int | None = None, account_id: int | None = None) -> MailboxView:
        """A session's view, of `a` if none is named; new mail is placed."""
        made = open_mailbox(
            self.store, mailbox_id or self.a, self.seal, lambda: self.now, account_id
        )
        made.look()
        return made

    def reader(self, mailbox_id: int | None = None) -> MailboxReader:
        """A new session's reader, of `a` if none is named; new mail is placed."""
        self.view(mailbox_id)
        return open_reader(self.store, mailbox_id or self.a, self.seal)


@contextmanager
def opened_letters(database: Database, folder: Path) -> Iterator[Letters]:
    """Two mailboxes without a quota."""
    with database.write() as conn:
        add_domain(conn, "a.mssante.fr", now=NOW)
        a, b = (
            add_mailbox(conn, f"{one}@a.mssante.fr", MailboxType.PER, RPPS, now=NOW).id
            for one in "ab"
        )
    blobs = FileBlobStore(folder / "blobs", form("encrypted", folder))
    made = Letters(Store(Bodies(blobs, database, lambda: NOW), database), a, b)
    yield made
    made.store.blobs.close()


@pytest.fixture
def letters(database: Database, tmp_path: Path) -> Iterator[Letters]:
    with opened_letters(database, tmp_path) as made:
        yield made
