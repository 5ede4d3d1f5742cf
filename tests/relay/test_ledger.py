"""A courier's turn takes as many round trips as are written here and no more, on both databases."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from mailstore.db.database import Database
from relay.delivery.turn_commit import Settling
from relay.delivery.turn_transaction import Batch
from relay.queue.attempt_result import Ending
from relay.queue.lapses import PATIENCE_SECONDS, Lapses
from relay.queue.model import Lease, Outcome, State, new_token
from tests.support.office import Office
from tests.support.outcomes import DELIVERED, LATER, REFUSED, ended
from tests.support.queued import rows


@contextmanager
def writing(database: Database) -> Iterator[list[str]]:
    """The statements of transactions that write, in their order; not the bodies that come after.

    Each is a round trip on PostgreSQL, however many rows it is for.
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


def turn(office: Office, batch: Batch) -> tuple[list[str], Sequence[State | None]]:
    """One turn of a courier: its statements, and what became of the endings."""
    # Not just after an outage, when what is leased is looked for first.
    running = iter([0.0, PATIENCE_SECONDS])
    lapses = Lapses(lambda: next(running))
    settling = Settling(office.store, office.ledger, lambda: LATER, lapses)
    with writing(office.store.database) as seen:
        written = settling.commit(batch)
    return seen, written.states


def waiting(office: Office, count: int) -> list[Lease]:
    before = set(rows(office.store.database))
    for _ in range(count):
        office.queue()
    return [Lease(key, new_token()) for key in rows(office.store.database) if key not in before]


@pytest.mark.parametrize("count", [2, 9])
def test_what_arrived_and_what_comes_next_take_nine_statements(office: Office, count: int) -> None:
    endings: list[Ending] = [ended(office.send(), DELIVERED) for _ in range(count)]
    seen, states = turn(office, Batch(endings, wanted=waiting(office, count)))
    assert states == [State.DELIVERED] * count
    # Four for what arrived, five for what is taken on.
    assert [one.split()[0] for one in seen] == [
        "SELECT", "SELECT", "DELETE", "DELETE",
        "SELECT", "SELECT", "UPDATE", "SELECT", "SELECT",
    ]  # fmt: skip


@pytest.mark.parametrize("outcome", [DELIVERED, REFUSED])
def test_one_that_ended_alone_takes_five_at_most(office: Office, outcome: Outcome) -> None:
    seen, _ = turn(office, Batch([ended(office.send(sender=None), outcome)]))
    expected = {
        State.DELIVERED: ["UPDATE", "UPDATE", "SELECT", "DELETE", "DELETE"],
        State.FAILED: ["UPDATE", "UPDATE", "SELECT", "UPDATE"],
    }
    told = [one for one in seen if "deliver" in one and "INSERT" not in one]
    assert [one.split()[0] for one in told] == expected[outcome.state]


def test_leases_that_go_on_and_come_back_take_one_each(office: Office) -> None:
    first, second = office.send(), office.send()
    seen, _ = turn(office, Batch(renewals=[first.lease], unused=[second.lease]))
    assert [one.split()[0] for one in seen] == ["UPDATE", "UPDATE"]
