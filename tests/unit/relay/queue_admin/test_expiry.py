"""Deliveries that failed long ago are removed, on both databases, and no others."""

from datetime import timedelta
from pathlib import Path

import pytest

from mailstore.blobs.gc import collect_garbage
from mailstore.db.database import Database
from mailstore.errors import NotFound
from mailstore.messages.messages import get_message
from relay.queue_admin.actions import RetryAction
from relay.queue_admin.expiry import DeletedDelivery, delete_failed
from relay.smtp.outcome import Outcome, State
from tests.support.clock import NOW
from tests.support.delivery.delivery_store import CLAIRE, TO, DeliveryStore
from tests.support.delivery.queued import Letter, message_id, perform, put, recipient_states, rows

DAY = timedelta(days=1)
REFUSED = Outcome(State.FAILED, "550 5.1.1 No such mailbox")


def failed(days: float, **columns: object) -> Letter:
    return Letter(state="failed", columns={"due": NOW - days * DAY, **columns})


def test_by_the_time_at_which_it_failed(database: Database) -> None:
    long_waiting = Letter(age=90 * DAY, columns={"due": NOW - 90 * DAY})
    held = Letter(age=90 * DAY, held="why", columns={"due": NOW - 90 * DAY})
    failed_late = failed(29, created_at=NOW - 90 * DAY)
    old, *_ = put(database, failed(31), failed_late, long_waiting, held)
    (found,) = delete_failed(database, NOW - 30 * DAY)
    assert found == [DeletedDelivery(old, message_id(1), "b.mssante.fr")]
    assert list(rows(database)) == [2, 3, 4]
    assert [one for one, _ in recipient_states(database)] == [2, 3, 4]
    assert list(delete_failed(database, NOW - 30 * DAY)) == []


def test_in_small_transactions_the_oldest_first(database: Database) -> None:
    put(database, *(failed(days) for days in (31, 34, 33, 35, 32)))
    work = delete_failed(database, NOW - 30 * DAY, batch=2)
    assert [one.id for one in next(work)] == [4, 2]
    assert list(rows(database)) == [1, 3, 5]  # yielded results are on disk
    assert [[one.id for one in batch] for batch in work] == [[3, 5], [1]]


def test_what_is_tried_again_is_not_forgotten(database: Database) -> None:
    put(database, failed(31), failed(31))
    work = delete_failed(database, NOW - 30 * DAY, batch=1)
    next(work)
    perform(database, RetryAction(revive=True))
    assert list(work) == []
    assert [row.state for row in rows(database).values()] == ["waiting"]


@pytest.mark.parametrize("given_up", [False, True])
def test_from_its_failure_to_the_end_of_its_body(
    tmp_path: Path, database: Database, given_up: bool
) -> None:
    delivery_store = DeliveryStore(tmp_path, database)
    taken = delivery_store.send()
    after = 6 * DAY if given_up else timedelta(hours=1)
    delivery_store.conclude(taken, {} if given_up else {TO: REFUSED}, after=after)
    (row,) = rows(database).values()
    assert (row.state, row.due) == ("failed", NOW + after)
    assert len(delivery_store.mail(CLAIRE)) == 1  # its sender has the DSN
    assert list(delete_failed(database, NOW + after)) == []
    collect_garbage(database, delivery_store.store.blobs, NOW + 9 * DAY)
    assert delivery_store.store.blobs.exists(taken.blob)
    assert len(list(delete_failed(database, NOW + after + timedelta(seconds=1)))) == 1
    assert collect_garbage(database, delivery_store.store.blobs, NOW + 9 * DAY).blobs == 1
    assert not delivery_store.store.blobs.exists(taken.blob)
    with database.read() as connection, pytest.raises(NotFound):
        get_message(connection, taken.message_id)
    delivery_store.store.blobs.close()
