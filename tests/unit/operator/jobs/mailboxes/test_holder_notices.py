"""Holders are told of accesses once, with message and audit row in one transaction."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from mailstore.audit.trail import AuditTrail
from mailstore.blobs.bodies import Bodies
from mailstore.blobs.file_store import FileBlobStore
from mailstore.blobs.store import Store
from mailstore.db.database import Database
from mailstore.db.schema import mailboxes
from mailstore.errors import StoreUnavailable
from mailstore.messages.messages import list_entries
from mailstore.rights import break_glass
from mailstore.rights.break_glass import Asker
from mailstore.sealed.blob_format import BlobFormat
from mssante_operator.jobs.mailboxes.holder_notices import HolderNotices
from mssante_operator.jobs.mailboxes.notices import NoticeWriter, PreparedNotice
from mssante_operator.jobs.rounds import JobRounds
from relay.smtp.address import parse_address
from tests.support.audit.trails import audit_keys, rows
from tests.support.clock import NOW
from tests.support.people import house
from tests.support.people.house import House
from tests.support.waiting import until

ID = "019350000000700080000000000000aa"


@dataclass(frozen=True)
class Place:
    store: Store
    home: House
    job: HolderNotices

    def ask(self, *, second: bool = False, tell: bool = True) -> int:
        with self.store.database.write() as conn:
            return break_glass.ask(
                conn,
                self.home.mailboxes[house.ORG],
                Asker(None, None, "root"),
                "Réquisition",
                NOW,
                NOW + timedelta(hours=1),
                needs_second=second,
                tell_holder=tell,
            ).id

    def received(self) -> list[bytes]:
        with self.store.database.read() as conn:
            found = list_entries(conn, self.home.mailboxes[house.ORG])
        bodies = []
        for entry in found:
            with self.store.blobs.open(entry.message.blob) as body:
                bodies.append(body.read(10_000))
        return bodies


@pytest.fixture
def place(tmp_path: Path, database: Database) -> Iterator[Place]:
    with database.write() as conn:
        home = house.build(conn)
    blobs = FileBlobStore(tmp_path / "blobs", BlobFormat())
    with closing(blobs):
        store = Store(Bodies(blobs, database, lambda: NOW), database)
        trail = AuditTrail(audit_keys(tmp_path))
        postmaster = parse_address("exploitation@chu.mssante.fr")
        writer = NoticeWriter(store, "smtp.a", postmaster, lambda: ID)
        job = HolderNotices(writer, trail, lambda: NOW)
        yield Place(store, home, job)


def test_a_holder_is_told_once(place: Place) -> None:
    number = place.ask()
    assert place.job.tell_all() == 1
    assert place.job.tell_all() == 0
    (octets,) = place.received()
    assert b"From: Exploitation <exploitation@chu.mssante.fr>" in octets
    with place.store.database.read() as conn:
        assert break_glass.get_access(conn, number).told_at == NOW
    (row,) = rows(place.store.database)
    # Of its tenant, so that the tenant's own auditor sees it.
    assert (row["event"], row["mailbox"], row["message"], row["tenant_id"]) == (
        "break_glass.holder_told",
        house.ORG,
        ID,
        1,
    )


def test_nobody_is_told_of_silent_accesses_and_of_these_not_agreed(place: Place) -> None:
    place.ask(tell=False)
    place.ask(second=True)
    assert place.job.tell_all() == 0
    assert place.received() == []


def test_a_failed_audit_row_leaves_the_holder_untold(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.ask()

    def fail(*_: object) -> None:
        raise RuntimeError("full disk")

    with monkeypatch.context() as patch:
        patch.setattr(AuditTrail, "append", fail)
        with pytest.raises(RuntimeError, match="full disk"):
            place.job.tell_all()
    assert place.received() == []
    assert place.job.tell_all() == 1


def test_the_postmaster_of_the_domain_without_another(place: Place) -> None:
    place.ask()
    writer = replace(place.job.writer, postmaster=None)
    assert replace(place.job, writer=writer).tell_all() == 1
    (octets,) = place.received()
    assert b"From: Exploitation <postmaster@chu.mssante.fr>" in octets


def test_one_access_that_fails_keeps_no_other_untold(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = place.ask(), place.ask()
    right = NoticeWriter.prepare
    tries = itertools.count()

    def fail_once(*given: Any) -> PreparedNotice:
        if next(tries) == 0:
            raise StoreUnavailable("this body cannot be stored")
        return right(*given)

    monkeypatch.setattr(NoticeWriter, "prepare", fail_once)
    with pytest.raises(StoreUnavailable, match="this body"):
        place.job.tell_all()
    with place.store.database.read() as conn:
        assert break_glass.get_access(conn, first).told_at is None
        assert break_glass.get_access(conn, second).told_at == NOW
    monkeypatch.undo()
    # The messages need different ids from here on.
    writer = replace(place.job.writer, new_id=lambda: "b" * 32)
    assert replace(place.job, writer=writer).tell_all() == 1


def test_an_erased_mailbox_takes_no_message(place: Place) -> None:
    """An entry in it would stay for good: nothing erases it a second time."""
    number, box = place.ask(), place.home.mailboxes[house.ORG]
    with place.store.database.write() as conn:
        conn.execute(update(mailboxes).where(mailboxes.c.id == box).values(erased_at=NOW))
        assert not break_glass.set_told(conn, number, NOW)
    assert place.job.tell_all() == 0
    assert place.received() == []


async def test_a_round_that_fails_is_an_alarm_until_one_succeeds(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.ask()
    rounds = JobRounds()
    job = replace(place.job, interval=0.01, rounds=rounds)
    with monkeypatch.context() as patch:
        patch.setattr(NoticeWriter, "prepare", _unavailable)
        running = asyncio.create_task(job.run())
        await until(lambda: rounds.failing == {"holder-notices": "no room"})
    await until(lambda: rounds.failing == {})
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert len(place.received()) == 1


def _unavailable(*_: object) -> None:
    raise StoreUnavailable("no room")
