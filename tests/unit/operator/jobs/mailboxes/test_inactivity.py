"""The daemon warns and suspends mailboxes that nobody uses, each step once (DOMAIN U1.2)."""

import asyncio
import email
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.policy import default
from pathlib import Path

import pytest
from sqlalchemy import update

from mailstore.audit.trail import AuditTrail
from mailstore.blobs.bodies import Bodies
from mailstore.blobs.file_store import FileBlobStore
from mailstore.blobs.store import Store
from mailstore.db.database import Database
from mailstore.db.schema import mailboxes
from mailstore.errors import StoreUnavailable
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.mailboxes.lifecycle import set_state
from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.mailboxes.states import MailboxState
from mailstore.messages.messages import list_entries
from mailstore.rights.inactivity import keep_mailbox
from mailstore.rights.inactivity_ladder import LadderPolicy
from mailstore.sealed.blob_format import BlobFormat
from mssante_operator.jobs.mailboxes.inactivity import InactivityJob
from mssante_operator.jobs.mailboxes.notices import NoticeWriter
from relay.smtp.address import parse_address
from tests.support.audit.trails import audit_keys, rows
from tests.support.clock import NOW
from tests.support.people import house
from tests.support.people.house import House
from tests.support.waiting import until

DAY = timedelta(days=1)
BOXES = (house.PER, house.ORG, house.CAB, house.ABROAD)  # APP is left alone


@dataclass
class Place:
    store: Store
    home: House
    job: InactivityJob
    at: datetime = field(default=NOW)

    def letters(self, address: str) -> list[str]:
        with self.store.database.read() as conn:
            found = list_entries(conn, self.home.mailboxes[address])
        texts = []
        for entry in found:
            with self.store.blobs.open(entry.message.blob) as body:
                message = email.message_from_bytes(body.read(10_000), policy=default)
            texts.append(message.get_content())
        return texts

    def state(self, address: str) -> MailboxState:
        with self.store.database.read() as conn:
            return get_mailbox(conn, address).state

    def days(self, number: int) -> int:
        """Let the round of a day run; returns the number of its steps."""
        self.at = NOW + number * DAY
        return self.job.round()


@pytest.fixture
def place(tmp_path: Path, database: Database) -> Iterator[Place]:
    with database.write() as conn:
        home = house.build(conn)
    blobs, numbers = FileBlobStore(tmp_path / "blobs", BlobFormat()), itertools.count(1)
    with closing(blobs):
        store = Store(Bodies(blobs, database, lambda: NOW), database)
        postmaster = parse_address("exploitation@chu.mssante.fr")
        writer = NoticeWriter(store, "smtp.a", postmaster, lambda: f"{next(numbers):032x}")
        trail = AuditTrail(audit_keys(tmp_path))
        types = (MailboxType.PER, MailboxType.ORG, MailboxType.CAB)
        made: list[Place] = []
        job = InactivityJob(writer, trail, LadderPolicy(), types, lambda: made[0].at)
        made.append(Place(store, home, job))
        yield made[0]


def test_two_warnings_then_suspension_and_never_deletion(place: Place) -> None:
    steps = {day: place.days(day) for day in (0, 269, 270, 271, 330, 331, 364, 365, 366, 1000)}
    assert {day: number for day, number in steps.items() if number} == {270: 4, 330: 4, 365: 4}
    first, second = place.letters(house.PER)
    assert "n'a pas été utilisée depuis le 22/11/2026" in first
    # The same days in both, since the daemon is not late.
    assert "sera suspendue le 22/11/2027" in " ".join(first.split())
    assert "à partir du 22/12/2027" in first
    assert "exploitation@chu.mssante.fr" in first
    assert first == second
    assert {place.state(one) for one in BOXES} == {MailboxState.SUSPENDED}
    assert place.state(house.APP) is MailboxState.ACTIVE
    assert place.letters(house.APP) == []
    found = [row for row in rows(place.store.database) if row["mailbox"] == house.PER]
    assert [(row["event"], row["door"]) for row in found] == [
        ("mailbox.unused_warned", "job"),
        ("mailbox.unused_warned", "job"),
        ("mailbox.suspended", "job"),
    ]
    assert [json.loads(row["facts"]).get("warning") for row in found] == [1, 2, None]
    assert json.loads(found[2]["facts"])["inbound"] == "refuse"


def test_nobody_is_surprised_when_it_is_switched_on_late(place: Place) -> None:
    """A mailbox unused for years gets all warnings first, at their distance."""
    steps = {day: place.days(day) for day in (2000, 2001, 2059, 2060, 2094, 2095)}
    assert {day: number for day, number in steps.items() if number} == {2000: 4, 2060: 4, 2095: 4}
    first, _ = place.letters(house.PER)
    assert f"sera suspendue le {NOW + 2095 * DAY:%d/%m/%Y}" in " ".join(first.split())


def test_a_log_in_an_objection_and_a_suspension_stop_it(place: Place) -> None:
    place.days(270)
    with place.store.database.write() as conn:
        used = mailboxes.c.address == house.PER
        conn.execute(update(mailboxes).where(used).values(last_login_at=place.at + DAY))
        box = place.home.mailboxes[house.CAB]
        keep_mailbox(conn, box, NOW + 400 * DAY, "congé", now=place.at)
        set_state(conn, house.ABROAD, MailboxState.SUSPENDED, now=place.at + DAY)
    assert (place.days(330), place.days(365)) == (1, 1)  # of the ORG mailbox
    assert [len(place.letters(one)) for one in BOXES] == [1, 2, 1, 1]
    assert place.state(house.PER) is MailboxState.ACTIVE
    assert place.days(400) == 1
    assert len(place.letters(house.CAB)) == 2


@pytest.mark.parametrize("changed", ["used", "warned"])
def test_a_mailbox_used_meanwhile_is_left_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    right: Callable[..., object] = NoticeWriter.prepare

    def meanwhile(*given: object) -> object:
        prepared = right(*given)
        monkeypatch.undo()
        if changed == "used":
            with place.store.database.write() as conn:
                conn.execute(update(mailboxes).values(last_login_at=place.at))
        else:
            assert place.job.round() == 4  # another machine is faster
        return prepared

    monkeypatch.setattr(NoticeWriter, "prepare", meanwhile)
    assert place.days(270) == 0
    assert [len(place.letters(one)) for one in BOXES] == [changed == "warned"] * 4


def test_a_step_without_its_audit_row_is_not_taken(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StoreUnavailable("the trail is full")

    with monkeypatch.context() as patch:
        patch.setattr(AuditTrail, "append", fail)
        with pytest.raises(StoreUnavailable, match="the trail is full"):
            place.days(270)
    assert place.letters(house.CAB) == []
    assert place.days(270) == 4


def test_a_clock_in_doubt_takes_no_step(place: Place) -> None:
    place.job.in_doubt = lambda: True
    assert place.days(2000) == 0


async def test_rounds_run_until_cancelled(place: Place) -> None:
    place.at, place.job.interval = NOW + 270 * DAY, 0.01
    running = asyncio.create_task(place.job.run())
    await until(lambda: all(place.letters(one) for one in BOXES))
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert place.job.rounds.failing == {}
