"""Rounds of erasing the content of deleted mailboxes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

import mssante_operator.jobs.mailboxes.erasure
from foundation.journal.writer import Journal
from mailstore.audit.trail import AuditTrail
from mailstore.blobs.bodies import Bodies
from mailstore.blobs.file_store import FileBlobStore
from mailstore.blobs.gc import collect_garbage
from mailstore.blobs.store import Store
from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from mailstore.mailboxes.erasure import due_mailboxes, erase_batch
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.lifecycle import delete_mailbox
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox, get_mailbox
from mailstore.messages.messages import (
    LocalDelivery,
    Message,
    NewMessage,
    list_entries,
    store_messages,
)
from mailstore.sealed.blob_format import BlobFormat
from mssante_operator.assembly.clock import utc_now
from mssante_operator.jobs.mailboxes.erasure import MailboxErasureJob
from relay.acceptance.group_commit import commit
from relay.acceptance.message import AcceptedMessage, LocalRecipient
from relay.smtp.address import parse_address
from tests.support.audit.trails import audit_keys, rows
from tests.support.waiting import until

BOXES = ("a@a.mssante.fr", "b@a.mssante.fr", "reste@a.mssante.fr")
RPPS = Identifier(IdentifierKind.RPPS, "10000001916")


@pytest.fixture
def deleted(database: Database) -> Database:
    """Two mailboxes whose erasure is due, and one whose is not."""
    long_ago = utc_now() - timedelta(days=40)
    with database.write() as conn:
        add_domain(conn, "a.mssante.fr", now=long_ago)
        for number, address in enumerate(BOXES):
            box = add_mailbox(conn, address, MailboxType.PER, RPPS, now=long_ago)
            name = f"{number:032x}"
            message = Message(name, "", f"{number:064x}", 1, "", "local", "s", long_ago)
            store_messages(
                conn, [NewMessage(message, (LocalDelivery(box.id, address),))], now=long_ago
            )
            grace = timedelta(days=30 if number < 2 else 60)
            delete_mailbox(conn, address, reason="départ", grace=grace, now=long_ago)
    return database


def erased(database: Database) -> list[bool]:
    with database.read() as conn:
        return [get_mailbox(conn, one).erased_at is not None for one in BOXES]


async def test_rounds_go_on_after_an_error_and_leave_their_trace(
    tmp_path: Path, deleted: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []

    def once(*given: object) -> object:
        calls.append(given)
        if len(calls) == 1:
            raise StoreUnavailable("the database is away")
        return due_mailboxes(*given)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(mssante_operator.jobs.mailboxes.erasure, "due_mailboxes", once)
    journal, trail = Journal(tmp_path / "trace", utc_now), AuditTrail(audit_keys(tmp_path))
    with capture_logs() as logs:
        job = MailboxErasureJob(deleted, trail, journal, 0.01)
        running = asyncio.create_task(job.run())
        await until(lambda: erased(deleted) == [True, True, False])
        await until(lambda: len(calls) >= 3)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    journal.close()
    assert [one["event"] for one in logs] == ["mailbox.unerased", *["mailbox.erased"] * 2]
    found = rows(deleted)
    assert [(row["event"], row["mailbox"], row["door"]) for row in found] == [
        ("mailbox.erased", address, "job") for address in BOXES[:2]
    ]
    assert json.loads(found[0]["facts"]) == {"entries": 1, "messages": 1}
    lines = "".join(path.read_text() for path in (tmp_path / "trace").rglob("*.jsonl"))
    assert lines.count('"mailbox.erased"') == 2


def test_nothing_is_erased_while_the_clock_is_in_doubt(tmp_path: Path, deleted: Database) -> None:
    journal, trail = Journal(tmp_path / "trace", utc_now), AuditTrail(audit_keys(tmp_path))
    MailboxErasureJob(deleted, trail, journal, in_doubt=lambda: True).erase()
    journal.close()
    assert erased(deleted) == [False] * 3
    assert not rows(deleted)


def test_a_trail_that_takes_no_row_erases_nothing(
    tmp_path: Path, deleted: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last batch and its audit row are one transaction."""

    def fail(*_: object) -> None:
        raise StoreUnavailable("the trail is full")

    monkeypatch.setattr(AuditTrail, "append", fail)
    journal, trail = Journal(tmp_path / "trace", utc_now), AuditTrail(audit_keys(tmp_path))
    with pytest.raises(StoreUnavailable):
        MailboxErasureJob(deleted, trail, journal).erase()
    journal.close()
    assert erased(deleted) == [False] * 3
    with deleted.write() as conn:
        batch = erase_batch(conn, due_mailboxes(conn, utc_now())[0].id, utc_now())
    assert batch is not None
    assert batch.entries == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from foundation.journal.writer import Journal
from mailstore.audit.keys import AuditKeys
from mailstore.audit.trail import AuditTrail
from mailstore.db.database import Database
from mailstore.mailboxes import erasure
from mssante_operator.assembly.clock import utc_now
from mssante_operator.jobs.mailboxes.erasure import MailboxErasureJob

erasure.BATCH = 3
folder, batches, append = Path(sys.argv[2]), [], AuditTrail.append

def dying(self, connection, events):
    append(self, connection, events)
    batches.append(events)
    if len(batches) == 3:  # its rows are written, and not committed
        os.kill(os.getpid(), signal.SIGKILL)

AuditTrail.append = dying
trail = AuditTrail(AuditKeys(folder / "audit-keys"))
MailboxErasureJob(Database(sys.argv[1]), trail, Journal(folder / "trace", utc_now)).erase()
"""


def test_an_erasure_that_is_killed_goes_on_and_its_numbers_add_up(
    tmp_path: Path, deleted: Database, database_url: str
) -> None:
    """kill -9 in the middle: each batch is whole with its audit row, or has not been."""
    at = utc_now() - timedelta(days=40)
    with deleted.write() as conn:
        box = get_mailbox(conn, BOXES[0])
        for number in range(100, 110):
            message = Message(f"{number:032x}", "", f"{number:064x}", 1, "", "local", "s", at)
            to = (LocalDelivery(box.id, BOXES[0]),)
            store_messages(conn, [NewMessage(message, to)], now=at)
    audit_keys(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, database_url, str(tmp_path)], check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    with deleted.read() as conn:
        assert len(list_entries(conn, box.id)) == 11 - 2 * 3
    journal, trail = Journal(tmp_path / "trace", utc_now), AuditTrail(audit_keys(tmp_path))
    MailboxErasureJob(deleted, trail, journal).erase()
    journal.close()
    assert erased(deleted) == [True, True, False]
    found = [row for row in rows(deleted) if row["mailbox"] == BOXES[0]]
    assert sorted(row["event"] for row in found) == ["mailbox.erased", *["mailbox.erasing"] * 2]
    facts = [json.loads(row["facts"]) for row in found]
    assert (sum(one["entries"] for one in facts), sum(one["messages"] for one in facts)) == (11, 11)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_no_file_of_the_store_has_the_content_after_erasure_and_collection(
    tmp_path: Path, database_url: str
) -> None:
    """Bodies in the database and in files, without encryption, and what other mailboxes hold."""
    database, now = Database(database_url), utc_now()
    long_ago = now - timedelta(days=40)
    blobs = FileBlobStore(tmp_path / "blobs", BlobFormat())
    store = Store(Bodies(blobs, database, lambda: long_ago), database)
    with database.write() as conn:
        add_domain(conn, "a.mssante.fr", now=long_ago)
        for address in BOXES:
            add_mailbox(conn, address, MailboxType.PER, RPPS, now=long_ago)
        ids = [get_mailbox(conn, one).id for one in BOXES]
    for number, (text, boxes) in enumerate(
        [
            (b"verborgen " * 20, ids[:1]),
            (b"verborgen " * 200_000, ids[:1]),
            (b"gemeinsam " * 20, ids),
            (b"gemeinsam " * 200_000, ids),
        ]
    ):
        draft = store.blobs.draft()
        draft.write(text)
        message = AcceptedMessage(
            id=f"{number:032x}",
            session="s",
            peer="local",
            sender=parse_address("verborgen@b.mssante.fr"),
            received_at=long_ago,
            trace=b"Received: verborgen\r\n" if len(boxes) == 1 else b"",
            draft=draft,
            local=tuple(LocalRecipient(one, parse_address(BOXES[0])) for one in boxes),
        )
        assert commit(store, [(message, None)], long_ago) == [None]
    # Rewrites of pages leave copies of neighbours, too: another message came and went before.
    with database.write() as conn:
        delete_mailbox(conn, BOXES[0], reason="x", grace=timedelta(days=30), now=long_ago)
    for path in (tmp_path / "blobs").rglob("*"):
        os.utime(path, (long_ago.timestamp(), long_ago.timestamp()))
    journal, trail = Journal(tmp_path / "trace", utc_now), AuditTrail(audit_keys(tmp_path))
    MailboxErasureJob(database, trail, journal).erase()
    journal.close()
    collect_garbage(database, store.blobs, now - timedelta(days=1))
    with database.read() as conn:
        assert [len(list_entries(conn, one)) for one in ids] == [0, 2, 2]
        for entry in list_entries(conn, ids[1]):
            with store.blobs.open(entry.message.blob) as body:
                assert body.read().startswith(b"gemeinsam ")
    store.close()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if b"gemeinsam" in path.read_bytes()]
    sender = b"verborgen@b.mssante.fr"  # of the messages that others hold
    assert [path for path in files if b"verborgen" in path.read_bytes().replace(sender, b"")] == []
