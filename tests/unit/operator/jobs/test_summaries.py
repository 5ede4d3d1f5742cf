"""The job that makes summaries and blocks ahead of need."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from sqlalchemy import delete, func, select, update

from mailstore.blobs.store import Store
from mailstore.db.schema import bodies, messages
from mailstore.db.summary_schema import search_blocks, summaries
from mailstore.sealed.keyring import Keyring
from mailstore.sealed.row_seal import RowSeal
from mailstore.summary_store.blocks import FEW, make_next_block
from mssante_operator.jobs import summaries as module
from mssante_operator.jobs.summaries import AGAIN, SummaryJob
from tests.support.clock import NOW
from tests.support.storage.letters import Letters, letter


@dataclass
class Clock:
    now: datetime = field(default=NOW)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def job(letters: Letters, clock: Clock) -> SummaryJob:
    return SummaryJob(letters.store, letters.seal, clock, pause=0)


def count(letters: Letters, table: object = summaries) -> int:
    with letters.database.read() as conn:
        return conn.scalar(select(func.count()).select_from(table)) or 0  # type: ignore[arg-type]


def test_each_message_gets_a_summary_once(letters: Letters, job: SummaryJob) -> None:
    letters.deliver(letter(), letter())
    assert job.round() == 2
    assert count(letters) == 2
    assert job.round() == 0


def test_older_messages_are_found_too(letters: Letters, job: SummaryJob, clock: Clock) -> None:
    letters.deliver(letter(), letter())
    clock.now += timedelta(days=3)
    assert job.round() == 2


def test_mail_that_is_in_no_mailbox_gets_none(letters: Letters, job: SummaryJob) -> None:
    letters.deliver(letter())
    with letters.database.write() as conn:
        one = conn.execute(select(messages)).mappings().one()
        conn.execute(messages.insert().values(**{**one, "id": "f" * 32}))
    assert job.round() == 1


def test_an_older_readers_summary_is_made_anew(letters: Letters, job: SummaryJob) -> None:
    letters.deliver(letter())
    job.round()
    with letters.database.write() as conn:
        conn.execute(update(summaries).values(version=0))
    assert job.round() == 1
    assert job.round() == 0


def test_an_unreadable_message_is_tried_again_later(
    letters: Letters, job: SummaryJob, clock: Clock
) -> None:
    letters.deliver(letter("perdu"))
    with letters.database.write() as conn:
        kept = conn.execute(select(bodies)).mappings().one()
        conn.execute(delete(bodies))
    letters.deliver(letter("gardé"))
    assert job.round() == 1
    with letters.database.write() as conn:
        conn.execute(bodies.insert().values(**kept))
    assert job.round() == 0
    clock.now += AGAIN
    assert job.round() == 1


def test_blocks_are_made_of_mailboxes_that_were_looked_at(
    letters: Letters, job: SummaryJob
) -> None:
    letters.deliver(*(letter() for _ in range(FEW)))
    job.round()
    assert count(letters, search_blocks) == 0
    view = letters.view()
    job.round()
    assert count(letters, search_blocks) == 1
    view.expunge(view.folders()[0].id, range(1, FEW + 1))
    job.round()
    assert count(letters, search_blocks) == 0
    assert count(letters) == 0


def test_a_mailbox_whose_block_fails_stops_no_other(
    letters: Letters, job: SummaryJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters.deliver(*(letter() for _ in range(FEW)), to=(letters.a, letters.b))
    for mailbox in (letters.a, letters.b):
        letters.view(mailbox)

    def fails_for_a(store: Store, seal: RowSeal, mailbox_id: int) -> bool:
        if mailbox_id == letters.a:
            raise ValueError("secret")
        return make_next_block(store, seal, mailbox_id)

    monkeypatch.setattr(module, "make_next_block", fails_for_a)
    job.round()
    with letters.database.read() as conn:
        assert list(conn.scalars(select(search_blocks.c.mailbox_id))) == [letters.b]


def test_a_missing_key_leaves_messages_for_later(
    letters: Letters, job: SummaryJob, clock: Clock
) -> None:
    letters.deliver(letter())
    keys = letters.seal.keys
    assert keys is not None
    whole = keys.path.read_text()
    other = RowSeal(Keyring(keys.path))
    job.seal = other
    with letters.database.write() as conn:
        sealed = bytes(conn.execute(select(bodies.c.sealed)).scalar_one())
        altered = sealed[:12] + bytes(8) + sealed[20:]  # of a key that nobody has
        conn.execute(update(bodies).values(sealed=altered))
    assert job.round() == 0
    assert keys.path.read_text() == whole
    with letters.database.write() as conn:
        conn.execute(update(bodies).values(sealed=sealed))
    clock.now += AGAIN
    assert job.round() == 1
