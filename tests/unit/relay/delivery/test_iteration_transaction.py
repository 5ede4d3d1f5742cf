"""Round trips of an iteration's transaction: the exact number, on both databases."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from mailstore.db.database import Database
from relay.delivery.iteration_commit import PendingWrites
from relay.queue.attempt_result import AttemptResult
from relay.queue.lapses import GRACE_SECONDS, Lapses
from relay.queue.model import Lease, new_token
from relay.smtp.outcome import Outcome, State
from tests.support.delivery.delivery_store import DeliveryStore, pending
from tests.support.delivery.outcomes import DELIVERED, LATER, REFUSED, ended
from tests.support.delivery.queued import rows


@contextmanager
def writing(database: Database) -> Iterator[list[str]]:
    """Collect the statements of writing transactions, in order; not the later reads of bodies.

    Each is a round trip on PostgreSQL, whatever its number of rows.
    """
    seen: list[str] = []

    def note(*arguments: object) -> None:
        said = str(arguments[2])
        if said != "BEGIN IMMEDIATE" and "FROM bodies" not in said:
            seen.append(said)

    event.listen(database._writer, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(database._writer, "before_cursor_execute", note)


def commit(
    delivery_store: DeliveryStore, writes: PendingWrites
) -> tuple[list[str], Sequence[State | None]]:
    """Commit one iteration; return its statements and the states of the results' deliveries."""
    # After the grace period of an outage: during it, existing leases are looked up first.
    running = iter([0.0, GRACE_SECONDS])
    lapses = Lapses(lambda: next(running))
    committer = delivery_store.committer(lambda: LATER, lapses)
    with writing(delivery_store.store.database) as seen:
        committed = committer.commit(writes)
    return seen, [one.state for one in committed.recorded]


def waiting(delivery_store: DeliveryStore, count: int) -> list[Lease]:
    before = set(rows(delivery_store.store.database))
    for _ in range(count):
        delivery_store.queue()
    return [
        Lease(key, new_token()) for key in rows(delivery_store.store.database) if key not in before
    ]


@pytest.mark.parametrize("count", [2, 9])
def test_what_arrived_and_what_comes_next_take_nine_statements(
    delivery_store: DeliveryStore, count: int
) -> None:
    results: list[AttemptResult] = [ended(delivery_store.send(), DELIVERED) for _ in range(count)]
    seen, states = commit(delivery_store, pending(results, wanted=waiting(delivery_store, count)))
    assert states == [State.DELIVERED] * count
    # Four for the results, five for the new leases.
    assert [one.split()[0] for one in seen] == [
        "SELECT", "SELECT", "DELETE", "DELETE",
        "SELECT", "SELECT", "UPDATE", "SELECT", "SELECT",
    ]  # fmt: skip


@pytest.mark.parametrize("outcome", [DELIVERED, REFUSED])
def test_one_that_ended_alone_takes_five_at_most(
    delivery_store: DeliveryStore, outcome: Outcome
) -> None:
    seen, _ = commit(delivery_store, pending([ended(delivery_store.send(sender=None), outcome)]))
    expected = {
        State.DELIVERED: ["UPDATE", "UPDATE", "SELECT", "DELETE", "DELETE"],
        State.FAILED: ["UPDATE", "UPDATE", "UPDATE"],
    }
    told = [one for one in seen if "deliver" in one and "INSERT" not in one]
    assert [one.split()[0] for one in told] == expected[outcome.state]


def test_leases_that_go_on_and_come_back_take_one_each(delivery_store: DeliveryStore) -> None:
    first, second = delivery_store.send(), delivery_store.send()
    seen, _ = commit(delivery_store, pending(renewals=[first.lease], unattempted=[second.lease]))
    assert [one.split()[0] for one in seen] == ["UPDATE", "UPDATE"]
