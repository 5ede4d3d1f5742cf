"""Daily garbage collection on both databases and stores: frees needless bodies, and no others."""

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from mailstore.blobs.gc import GRACE, GcResult, collect_garbage, rewrite_blobs
from mailstore.blobs.verify import verify_blobs
from mailstore.db.database import Database
from mailstore.db.schema import entries, messages
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox
from mailstore.messages.messages import LocalDelivery, Message, NewMessage, store_messages
from mailstore.sealed.keyring import rotate
from tests.support.storage.blobs import MADE, content
from tests.support.storage.stores import Kept, draft, kept_in
from tests.support.waiting import PATIENCE

NOW = datetime.now(UTC)
OLD = NOW - 2 * GRACE
BEFORE = NOW - GRACE
LONG = 2 * GRACE


@dataclass
class Mail:
    """A mailbox whose mail comes and goes."""

    database: Database
    kept: Kept
    box: int
    numbers: Iterator[int]

    def arrive(self, body: bytes) -> tuple[str, str]:
        """A message arrives, in the order of acceptance: body, then rows."""
        (blob,) = self.kept.store.seal([draft(self.kept.store, body)])
        message = f"{next(self.numbers):032x}"
        row = Message(message, "", str(blob), len(body), "", "local", "s", NOW)
        with self.database.write() as conn:
            new = NewMessage(row, (LocalDelivery(self.box, "x@a.mssante.fr"),))
            store_messages(conn, [new], now=NOW)
        return message, str(blob)

    def drop(self, message: str) -> None:
        """The message is deleted from its mailbox."""
        with self.database.write() as conn:
            conn.execute(delete(entries).where(entries.c.message_id == message))

    def age(self, message: str, blob: str, by: timedelta = LONG) -> None:
        """Make message and blob older."""
        with self.database.write() as conn:
            conn.execute(
                update(messages).where(messages.c.id == message).values(received_at=NOW - by)
            )
        self.kept.age(blob, by)

    def collect(self) -> GcResult:
        return collect_garbage(self.database, self.kept.store, BEFORE)


@pytest.fixture(params=["files", "bucket"])
def mail(database: Database, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mail]:
    with database.write() as conn:
        add_domain(conn, "a.mssante.fr", now=NOW)
        rpps = Identifier(IdentifierKind.RPPS, "10000001916")
        box = add_mailbox(conn, "x@a.mssante.fr", MailboxType.PER, rpps, now=NOW)
    for kept in kept_in(request.param, request, tmp_path, "encrypted"):
        yield Mail(database, kept, box.id, count(1))


def test_a_message_without_entries_is_freed_and_its_blob_after_the_grace(mail: Mail) -> None:
    message, blob = mail.arrive(b"read and deleted")
    held, needed = mail.arrive(b"kept")
    for one, its in ((message, blob), (held, needed)):
        mail.age(one, its)
    assert mail.collect() == GcResult(0, 0, 0)
    mail.drop(message)
    octets = len(mail.kept.raw(blob))
    assert mail.collect() == GcResult(1, 1, octets)
    assert mail.collect() == GcResult(0, 0, 0)
    with mail.database.read() as conn:
        assert list(conn.scalars(select(messages.c.id))) == [held]
    assert content(mail.kept.store, needed) == b"kept"


def test_nothing_goes_within_the_grace(mail: Mail) -> None:
    message, blob = mail.arrive(b"just deleted")
    mail.drop(message)
    assert mail.collect() == GcResult(0, 0, 0)
    mail.age(message, blob, GRACE - timedelta(minutes=10))
    assert mail.collect() == GcResult(0, 0, 0)
    assert mail.kept.store.exists(blob)


def test_it_ends_early_when_told_to(mail: Mail) -> None:
    for i in range(3):
        message, blob = mail.arrive(f"body {i}".encode())
        mail.age(message, blob)
        mail.drop(message)
    asked = iter([True, False])
    freed = collect_garbage(mail.database, mail.kept.store, BEFORE, lambda: next(asked))
    assert (freed.messages, freed.blobs) == (3, 1)
    assert mail.collect().blobs == 2


def test_two_freeing_while_equal_messages_arrive(mail: Mail) -> None:
    """Each body is old and without a message when it arrives again during its freeing."""
    bodies = [f"body {i}".encode() for i in range(4)]
    over = threading.Event()
    freed: list[int] = []
    problems: list[Exception] = []

    def free() -> None:
        store = mail.kept.again(mail.kept.store.blob_format)
        try:
            while not over.is_set():
                freed.append(collect_garbage(mail.database, store, BEFORE).blobs)
        except Exception as error:
            problems.append(error)
        finally:
            store.close()

    threads = [threading.Thread(target=free) for _ in range(2)]
    for thread in threads:
        thread.start()
    chance = random.Random(0)
    late = time.monotonic() + PATIENCE
    try:
        for number in count(1):
            if problems or (number > 24 and sum(freed) > len(bodies)):
                break
            assert time.monotonic() < late, "hardly anything is freed"
            body = chance.choice(bodies)
            message, blob = mail.arrive(body)
            assert content(mail.kept.store, blob) == body
            # From now on: needless, and old enough.
            mail.drop(message)
            mail.age(message, blob)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert problems == []


def test_check_and_rewrite(mail: Mail, tmp_path: Path) -> None:
    names = [mail.arrive(f"body {i}".encode())[1] for i in range(8)]
    key = rotate(tmp_path / "keys", MADE)
    assert rewrite_blobs(mail.kept.store).blobs == 8
    assert rewrite_blobs(mail.kept.store).blobs == 0
    headers = [mail.kept.store.header(name) for name in names]
    assert {header and header.key_id for header in headers} == {key.id}
    assert mail.kept.count() == 8
    assert list(verify_blobs(mail.database, mail.kept.store, BEFORE)) == []
    mail.kept.remove(names[0])
    mail.kept.replace(names[1], mail.kept.raw(names[2]))
    found = {
        one.blob: one.fault.value for one in verify_blobs(mail.database, mail.kept.store, BEFORE)
    }
    assert found == {names[0]: "missing", names[1]: "damaged"}
