"""Actions on the queue by hand, on both databases: rows after each action, and rows left alone."""

from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from mailstore.db.database import Database
from relay.queue.leases import claim
from relay.queue_admin.actions import Act, Hold, Release, Retry, Touched, count, work_through
from relay.queue_admin.drop import Drop
from relay.queue_admin.filter import Filter, Standing
from tests.support.clock import NOW
from tests.support.queued import Letter, message_id, perform, put, recipient_states, rows

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
        assert perform(database, Retry()) == ([first], 0)
        after = rows(database)
        assert (after[first].due, after[first].attempts) == (NOW, 3)
        assert after[held].due > NOW
        assert (after[held].held, after[failed].state) == ("before", "failed")

    def test_what_failed_lives_anew_if_asked(self, database: Database) -> None:
        failed, held_too = put(database, FAILED, replace(FAILED, held="while it waited"))
        assert perform(database, Retry(revive=True)) == ([failed, held_too], 0)
        for row in rows(database).values():
            assert (row.state, row.attempts, row.due) == ("waiting", 0, NOW)
            assert (row.created_at, row.delay_told, row.held) == (NOW, False, None)
        # A recipient that has the message does not get it again.
        assert [state for _, state in recipient_states(database)] == ["waiting", "delivered"] * 2


class TestHoldAndRelease:
    def test_what_waits_is_held_for_the_reason(self, database: Database) -> None:
        waits, held, failed = put(database, Letter(), HELD, FAILED)
        assert perform(database, Hold("wrong list")) == ([waits], 0)
        after = rows(database)
        assert [after[one].held for one in (waits, held, failed)] == ["wrong list", "before", None]

    def test_what_is_held_is_released_and_due(self, database: Database) -> None:
        waits, held = put(database, Letter(), HELD)
        assert perform(database, Release()) == ([held], 0)
        after = rows(database)
        assert (after[held].held, after[held].due) == (None, NOW)
        assert after[waits].due > NOW


ACTS: tuple[tuple[Act[Any], Letter], ...] = (
    (Retry(), Letter()),
    (Retry(revive=True), FAILED),
    (Hold("why"), Letter()),
    (Release(), HELD),
    (Drop(), Letter()),
)


class TestEveryAct:
    @pytest.mark.parametrize(("act", "letter"), ACTS, ids=repr)
    @pytest.mark.parametrize(
        ("wanted", "differs"),
        [
            (Filter(domain="b.*"), Letter(domain="c.mssante.fr")),
            (Filter(sender="claire*"), Letter(sender="other@a.mssante.fr")),
            (Filter(recipient="?@b.mssante.fr"), Letter(to=("others@b.mssante.fr",))),
            (Filter(mailbox_type="PER"), Letter(mailbox_type="APP")),
            (Filter(younger=timedelta(days=30)), Letter(age=timedelta(days=31))),
            (Filter(older=timedelta(days=1)), Letter(age=timedelta(0))),
            (Filter(ids=(1,)), Letter()),
            (Filter(messages=(message_id(1),)), Letter()),
        ],
        ids=lambda one: " ".join(one.texts) if isinstance(one, Filter) else "",
    )
    def test_takes_every_filter(
        self, database: Database, act: Act[Any], letter: Letter, wanted: Filter, differs: Letter
    ) -> None:
        fits = replace(letter, to=("x@b.mssante.fr",), recipient_states={}, age=timedelta(days=6))
        other = replace(differs, state=letter.state, held=letter.held)
        put(database, fits, other)
        before = rows(database)[2]
        assert perform(database, act, wanted) == ([1], 0)
        assert rows(database)[2] == before

    @pytest.mark.parametrize(("act", "letter"), ACTS, ids=repr)
    def test_takes_a_state(self, database: Database, act: Act[Any], letter: Letter) -> None:
        put(database, letter)
        stands = Standing.of(letter.state, letter.held)
        for other in set(Standing) - {stands}:
            assert perform(database, act, Filter(state=other)) == ([], 0)
        assert perform(database, act, Filter(state=stands)) == ([1], 0)

    @pytest.mark.parametrize(("act", "letter"), ACTS, ids=repr)
    def test_leaves_alone_what_is_in_flight(
        self, database: Database, act: Act[Any], letter: Letter
    ) -> None:
        flies, lapsed = put(database, replace(letter, lease=MINUTE), replace(letter, lease=-MINUTE))
        before = rows(database)[flies]
        assert perform(database, act) == ([lapsed], 1)
        assert rows(database)[flies] == before

    def test_works_through_all_in_batches(self, database: Database) -> None:
        ids = put(database, *[Letter()] * 7, IN_FLIGHT)
        done = list(work_through(database, Drop(), Filter(), lambda: NOW, batch=3))
        assert [len(one.touched) for one in done] == [3, 3, 1]
        assert [one.in_flight for one in done] == [0, 0, 1]
        assert [one.id for each in done for one in each.touched] == ids[:-1]
        assert done[0].touched[0] == Touched(1, message_id(1), "b.mssante.fr", Standing.WAITING)

    def test_a_large_one_leaves_the_turn_to_others_in_between(self, database: Database) -> None:
        put(database, *[Letter()] * 5)
        work = work_through(database, Drop(), Filter(domain="b*"), lambda: NOW, batch=2)
        next(work)
        (late,) = put(database, Letter(domain="c.mssante.fr"))  # a writer of the daemon
        assert [len(one.touched) for one in work] == [2, 1]
        assert list(rows(database)) == [late]

    def test_what_changed_since_it_was_found_is_looked_at_again(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        taken, held, waits = put(database, Letter(), Letter(), Letter())
        write = database.write

        def lose_time_and_write() -> AbstractContextManager[Connection]:
            monkeypatch.undo()
            assert take(database, 1) == [taken]
            assert perform(database, Hold("faster"), Filter(ids=(held,))) == ([held], 0)
            return write()

        monkeypatch.setattr(database, "write", lose_time_and_write)
        assert perform(database, Hold("slower"), batch=9) == ([waits], 1)
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
            assert perform(database, Drop()) == ([waits], 1)
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
        assert count(connection, Filter(), NOW) == {
            Standing.WAITING: 2,
            Standing.HELD: 2,
            Standing.FAILED: 2,
        }
        assert count(connection, Filter(ids=(2,)), NOW)[Standing.WAITING] == 0
