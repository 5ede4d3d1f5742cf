"""Crossings of 80 and 95 % are told once: by a notice in the mailbox, in the trace and the log."""

import email
import itertools
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from foundation.journal.writer import Journal
from mailstore.blobs.bodies import Bodies
from mailstore.blobs.file_store import FileBlobStore
from mailstore.blobs.store import Store
from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from mailstore.mail.domain_usage import FRESH_SECONDS, DomainUsage
from mailstore.mail.quota import set_domain_quota
from mailstore.mail.quota_watch import ids_with_quota
from mailstore.mailboxes.mailboxes import set_quota
from mailstore.messages.messages import (
    LocalDelivery,
    Message,
    NewMessage,
    list_entries,
    store_messages,
)
from mailstore.sealed.blob_format import BlobFormat
from mssante_operator.jobs.mailboxes import quota_watch
from mssante_operator.jobs.mailboxes.notices import NoticeWriter, PreparedNotice
from mssante_operator.jobs.mailboxes.quota_watch import QuotaWatch
from tests.support.clock import NOW
from tests.support.people import house
from tests.support.people.house import House

OCTETS = 2**20


@dataclass
class Place:
    store: Store
    home: House
    journal: Journal
    numbers: Iterator[int]
    seconds: float = 0.0

    def job(self) -> QuotaWatch:
        """Job of one machine."""
        writer = NoticeWriter(self.store, "smtp.a", None, lambda: f"{next(self.numbers):032x}")
        usage = DomainUsage(lambda: self.seconds)
        return QuotaWatch(writer, self.journal, lambda: NOW, usage=usage)

    def limit(self, address: str, quota: int | None) -> None:
        with self.store.database.write() as conn:
            set_quota(conn, address, quota)

    def limit_domain(self, name: str, quota: int | None) -> None:
        with self.store.database.write() as conn:
            set_domain_quota(conn, name, quota)

    def deliver(self, address: str, octets: int) -> None:
        self.seconds += FRESH_SECONDS
        name = f"{next(self.numbers):032x}"
        message = Message(name, "", "ab" * 32, octets, "", "local", "s", NOW)
        box = self.home.mailboxes[address]
        with self.store.database.write() as conn:
            store_messages(conn, [NewMessage(message, (LocalDelivery(box, address),))], now=NOW)

    def notices(self, address: str) -> list[bytes]:
        with self.store.database.read() as conn:
            found = list_entries(conn, self.home.mailboxes[address])
        bodies = []
        for entry in sorted(found, key=lambda one: one.id):
            if entry.message.blob != "ab" * 32:
                with self.store.blobs.open(entry.message.blob) as body:
                    bodies.append(body.read(10_000))
        return bodies


@pytest.fixture
def place(tmp_path: Path, database: Database) -> Iterator[Place]:
    with database.write() as conn:
        home = house.build(conn)
    blobs = FileBlobStore(tmp_path / "blobs", BlobFormat())
    journal = Journal(tmp_path / "trace", lambda: NOW)
    with closing(blobs), closing(journal):
        store = Store(Bodies(blobs, database, lambda: NOW), database)
        yield Place(store, home, journal, itertools.count(1))


def test_each_level_is_told_once(place: Place, tmp_path: Path) -> None:
    job = place.job()
    place.limit(house.ORG, 100 * OCTETS)
    place.deliver(house.ORG, 79 * OCTETS)
    assert job.round() == 0
    place.deliver(house.ORG, OCTETS)
    with capture_logs() as logs:
        assert [job.round(), job.round()] == [1, 0]
    assert [(one["event"], one["percent"]) for one in logs] == [("mailbox.quota_reached", 80)]
    place.deliver(house.ORG, 20 * OCTETS)  # full
    assert [job.round(), job.round()] == [1, 0]
    subjects = [
        email.message_from_bytes(one, policy=default)["Subject"] for one in place.notices(house.ORG)
    ]
    assert [one.partition("plus de ")[2] for one in subjects] == ["80 %", "95 %"]
    assert job.reached[("mailbox", 95)] == 1
    place.journal.close()
    lines = [
        json.loads(line)
        for path in sorted((tmp_path / "trace").rglob("*"))
        if path.is_file()
        for line in path.read_text(encoding="utf-8").splitlines()
        if line
    ]
    found = [one for one in lines if one["event"] == "mailbox.quota_reached"]
    assert [(one["mailbox"], one["percent"]) for one in found] == [(house.ORG, 80), (house.ORG, 95)]


def test_a_level_left_is_told_again_when_it_is_reached_again(place: Place) -> None:
    job = place.job()
    place.limit(house.ORG, 100 * OCTETS)
    place.deliver(house.ORG, 80 * OCTETS)
    assert job.round() == 1
    place.limit(house.ORG, 105 * OCTETS)  # 76 %: not left yet
    assert job.round() == 0
    place.limit(house.ORG, 100 * OCTETS)
    assert job.round() == 0
    place.limit(house.ORG, 120 * OCTETS)
    assert job.round() == 0
    place.limit(house.ORG, 100 * OCTETS)
    assert job.round() == 1
    assert len(place.notices(house.ORG)) == 2


def test_two_machines_tell_one_crossing_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = place.job(), place.job()
    place.limit(house.ORG, 100)
    place.deliver(house.ORG, 96)
    right, told = NoticeWriter.prepare, list[int]()

    def prepare(self: NoticeWriter, *given: Any) -> PreparedNotice:
        if not told:
            told.append(0)
            told.append(other.round())  # after the look of the first, before its transaction
        return right(self, *given)

    monkeypatch.setattr(NoticeWriter, "prepare", prepare)
    assert one.round() == 0
    assert told == [0, 1]
    assert len(place.notices(house.ORG)) == 1


def test_a_domain_is_told_in_the_log(place: Place) -> None:
    job = place.job()
    domain = house.ORG.partition("@")[2]
    place.limit_domain(domain, 1000)
    place.deliver(house.ORG, 400)
    place.deliver(house.PER, 399)
    assert job.round() == 0
    place.deliver(house.APP, 151)
    with capture_logs() as logs:
        assert [job.round(), job.round()] == [1, 0]
    assert [(one["event"], one["domain"], one["percent"]) for one in logs] == [
        ("domain.quota_reached", domain, 95)
    ]
    assert (job.reached[("domain", 80)], job.reached[("domain", 95)]) == (0, 1)
    assert place.notices(house.ORG) == []
    place.limit_domain(domain, None)
    assert job.round() == 0
    assert job.reached[("domain", 95)] == 0


def test_one_mailbox_that_fails_keeps_no_other_untold(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, tries = place.job(), itertools.count()
    for address in (house.ORG, house.PER):
        place.limit(address, 100)
        place.deliver(address, 96)
    right = NoticeWriter.prepare

    def fail_once(*given: Any) -> PreparedNotice:
        if next(tries) == 0:
            raise StoreUnavailable("no room")
        return right(*given)

    monkeypatch.setattr(NoticeWriter, "prepare", fail_once)
    with pytest.raises(StoreUnavailable, match="no room"):
        job.round()
    assert job.round() == 1
    assert [len(place.notices(one)) for one in (house.ORG, house.PER)] == [1, 1]


def test_the_pass_finds_quotas_lowered_below_the_use_page_by_page(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota_watch, "LOOK_BACK", 0)
    monkeypatch.setattr(quota_watch, "PAGE", 1)
    monkeypatch.setattr(
        quota_watch, "ids_with_quota", lambda conn, after: ids_with_quota(conn, after, 1)
    )
    boxes = (house.PER, house.ORG, house.APP)
    for address in boxes:
        place.deliver(address, 96)
        place.limit(address, 100)
    job = place.job()
    assert [job.round() for _ in range(4)] == [1, 1, 1, 0]
    assert [len(place.notices(one)) for one in boxes] == [1, 1, 1]
