"""Rounds of erasing the content of deleted mailboxes."""

import asyncio
import json
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

import mssante_operator.jobs.mailbox_erasure
from foundation.journal.writer import Journal
from mailstore.audit.trail import AuditTrail
from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from mailstore.mailboxes.erasure import due_mailboxes, erase_batch
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.lifecycle import delete_mailbox
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox, get_mailbox
from mailstore.messages.messages import LocalDelivery, Message, NewMessage, store_messages
from mssante_operator.assembly.clock import utc_now
from mssante_operator.jobs.mailbox_erasure import MailboxErasureJob
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

    monkeypatch.setattr(mssante_operator.jobs.mailbox_erasure, "due_mailboxes", once)
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
