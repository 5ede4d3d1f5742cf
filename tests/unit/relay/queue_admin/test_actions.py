"""Actions on the queue by hand, on both databases: rows after each action, and rows left alone."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from mailstore.db.database import Database
from relay.queue.leases import claim
from relay.queue_admin.actions import (
    ChangedDelivery,
    HoldAction,
    QueueAction,
    ReleaseAction,
    RetryAction,
    count,
    run_action,
)
from relay.queue_admin.drop import DropAction
from relay.queue_admin.filter import DeliveryFilter, DeliveryStatus
from tests.support.clock import NOW
from tests.support.delivery.queued import Letter, message_id, perform, put, recipient_states, rows

MINUTE = timedelta(minutes=1)
HELD = Letter(held="before")
FAILED = Letter(
    state="failed",
    attempts=9,
    age=timedelta(days=6),
    to=("x@b.mssante.fr", "y@b.mssante.fr"),
    recipient_states={"y@b.mssante.fr": "delivered"},
    columns={"delay_told": True},
)
IN_FLIGHT = Letter(lease=MINUTE)


class TestRetry:
    def test_what_waits_is_due_now(self, database: Database) -> None:
        first, held, failed = put(database, replace(Letter(), attempts=3), HELD, FAILED)
        assert perform(database, RetryAction()) == ([first], 0)
        after = rows(database)
        assert (after[first].due, after[first].attempts) == (NOW, 3)
        assert after[held].due > NOW
        assert (after[held].held, after[failed].state) == ("before", "failed")

    def test_what_failed_lives_anew_if_asked(self, database: Database) -> None:
        failed, held_too = put(database, FAILED, replace(FAILED, held="while it waited"))
        assert perform(database, RetryAction(revive=True)) == ([failed, held_too], 0)
        for row in rows(database).values():
            assert (row.state, row.attempts, row.due) == ("waiting", 0, NOW)
            assert (row.created_at, row.delay_told, row.held) == (NOW, False, None)
        # A recipient that has the message does not get it again.
        assert [state for _, state in recipient_states(database)] == ["waiting", "delivered"] * 2


class TestHoldAndRelease:
    def test_what_waits_is_held_for_the_reason(self, database: Database) -> None:
        waits, held, failed = put(database, Letter(), HELD, FAILED)
        assert perform(database, HoldAction("wrong list")) == ([waits], 0)
        after = rows(database)
        assert [after[one].held for one in (waits, held, failed)] == ["wrong list", "before", None]

    def test_what_is_held_is_released_and_due(self, database: Database) -> None:
        waits, held = put(database, Letter(), HELD)
        assert perform(database, ReleaseAction()) == ([held], 0)
        after = rows(database)
        assert (after[held].held, after[held].due) == (None, NOW)
        assert after[waits].due > NOW


ACTS: tuple[tuple[QueueAction[Any], Letter], ...] = (
    (RetryAction(), Letter()),
    (RetryAction(revive=True), FAILED),
    (HoldAction("why"), Letter()),
    (ReleaseAction(), HELD),
    (DropAction(), Letter()),
)


class TestEveryAct:
    @pytest.mark.parametrize(("act", "letter"), ACTS, ids=repr)
    @pytest.mark.parametrize(
        ("wanted", "differs"),
        [
            (DeliveryFilter(domain="b.*"), Letter(domain="c.mssante.fr")),
            (DeliveryFilter(sender="claire*"), Letter(sender="other@a.mssante.fr")),
            (DeliveryFilter(recipient="?@b.mssante.fr"), Letter(to=("others@b.mssante.fr",))),
            (DeliveryFilter(mailbox_type="PER"), Letter(mailbox_type="APP")),
            (DeliveryFilter(younger=timedelta(days=30)), Letter(age=timedelta(days=31))),
            (DeliveryFilter(older=timedelta(days=1)), Letter(age=timedelta(0))),
            (DeliveryFilter(ids=(1,)), Letter()),
            (DeliveryFilter(messages=(message_id(1),)), Letter()),
        ],
        ids=lambda one: " ".join(one.texts) if isinstance(one, DeliveryFilter) else "",
    )
    def test_takes_every_filter(
        self,
        database: Database,
        act: QueueAction[Any],
        letter: Letter,
        wanted: DeliveryFilter,
        differs: Letter,
    ) -> None:
        fits = replace(letter, to=("x@b.mssante.fr",), recipient_states={}, age=timedelta(days=6))
        other = replace(differs, state=letter.state, held=letter.held)
        put(database, fits, other)
        before = rows(database)[2]
        assert perform(database, act, wanted) == ([1], 0)
        assert rows(database)[2] == before

    @pytest.mark.parametrize(("act", "letter"), ACTS, ids=repr)
    def test_takes_a_state(self, database: Database, act: QueueAction[Any], letter: Letter) -> None:
        put(database, letter)
        stands = DeliveryStatus.of(letter.state, letter.held)
        for other in set(DeliveryStatus) - {stands}:
            assert perform(database, act, DeliveryFilter(state=other)) == ([], 0)
        assert perform(database, act, DeliveryFilter(state=stands)) == ([1], 0)

    @pytest.mark.parametrize(("act", "letter"), ACTS, ids=repr)
    def test_leaves_alone_what_is_in_flight(
        self, database: Database, act: QueueAction[Any], letter: Letter
    ) -> None:
        flies, lapsed = put(database, replace(letter, lease=MINUTE), replace(letter, lease=-MINUTE))
        before = rows(database)[flies]
        assert perform(database, act) == ([lapsed], 1)
        assert rows(database)[flies] == before

    def test_works_through_all_in_batches(self, database: Database) -> None:
        ids = put(database, *[Letter()] * 7, IN_FLIGHT)
        done = list(run_action(database, DropAction(), DeliveryFilter(), lambda: NOW, batch=3))
        assert [len(one.changed) for one in done] == [3, 3, 1]
        assert [one.in_flight for one in done] == [0, 0, 1]
        assert [one.id for each in done for one in each.changed] == ids[:-1]
        assert done[0].changed[0] == ChangedDelivery(
            1, message_id(1), "b.mssante.fr", DeliveryStatus.WAITING
        )

    def test_a_large_one_leaves_the_turn_to_others_in_between(self, database: Database) -> None:
        put(database, *[Letter()] * 5)
        work = run_action(database, DropAction(), DeliveryFilter(domain="b*"), lambda: NOW, batch=2)
        next(work)
        (late,) = put(database, Letter(domain="c.mssante.fr"))  # a writer of the daemon
        assert [len(one.changed) for one in work] == [2, 1]
        assert list(rows(database)) == [late]

    def test_what_changed_since_it_was_found_is_looked_at_again(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        taken, held, waits = put(database, Letter(), Letter(), Letter())
        write = database.write

        def lose_time_and_write() -> AbstractContextManager[Connection]:
            monkeypatch.undo()
            assert take(database, 1) == [taken]
            assert perform(database, HoldAction("faster"), DeliveryFilter(ids=(held,))) == (
                [held],
                0,
            )
            return write()

        monkeypatch.setattr(database, "write", lose_time_and_write)
        assert perform(database, HoldAction("slower"), batch=9) == ([waits], 1)
        assert [rows(database)[one].held for one in (taken, held, waits)] == [
            None,
            "faster",
            "slower",
        ]

    def test_what_a_courier_is_taking_counts_as_in_flight(
        self, database: Database, dialect: str
    ) -> None:
        if dialect == "sqlite":
            pytest.skip("it has one writer at a time")
        taken, waits = put(database, Letter(), Letter())
        with database.write() as connection:  # the courier has not committed yet
            assert take_in(connection, 1) == [taken]
            assert perform(database, DropAction()) == ([waits], 1)
        assert list(rows(database)) == [taken]


def take(database: Database, limit: int) -> list[int]:
    """Lease deliveries like a courier; returns their numbers."""
    with database.write() as connection:
        return take_in(connection, limit)


def take_in(connection: Connection, limit: int) -> list[int]:
    due = NOW + timedelta(hours=2)  # deliveries made by `put` are due by then
    claims = claim(
        connection, owner="n:1", now=due, lease=MINUTE, limit=limit, wait=lambda _: MINUTE
    )
    return [one.id for one in claims]


def test_count_by_how_they_stand(database: Database) -> None:
    put(database, Letter(), HELD, HELD, FAILED, replace(FAILED, held="too"), IN_FLIGHT)
    with database.read() as connection:
        assert count(connection, DeliveryFilter(), NOW) == {
            DeliveryStatus.WAITING: 2,
            DeliveryStatus.HELD: 2,
            DeliveryStatus.FAILED: 2,
        }
        assert count(connection, DeliveryFilter(ids=(2,)), NOW)[DeliveryStatus.WAITING] == 0


def test_a_note_is_part_of_the_transaction(database: Database) -> None:
    put(database, Letter(), Letter(), Letter())
    noted: list[int] = []

    def note(_connection: Connection, changed: Sequence[ChangedDelivery]) -> None:
        if noted:
            raise PermissionError("no longer allowed")
        noted.extend(one.id for one in changed)

    act = run_action(database, HoldAction("why"), DeliveryFilter(), lambda: NOW, batch=2, note=note)
    with pytest.raises(PermissionError):
        list(act)
    assert noted == [1, 2]
    held = {number: row.held for number, row in rows(database).items()}
    assert held == {1: "why", 2: "why", 3: None}
