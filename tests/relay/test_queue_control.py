"""What operators do to the queue, on both databases: rows after each act, and who is spared."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Connection, select, update

from mailstore.database import Database
from relay.queue import State, claim
from relay.queue_control import (
    EVERYWHERE,
    Act,
    Drop,
    Dropped,
    DroppedRecipient,
    Hold,
    Release,
    Retry,
    Touched,
    count,
    forget_dead,
    pause,
    pauses,
    resume,
    work_through,
)
from relay.queue_filter import Filter, Standing
from relay.queue_schema import deliveries, delivery_recipients
from tests.support.clock import NOW
from tests.support.queued import Letter, destination, know, message_id, put, rows

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


def perform(
    database: Database, act: Act, wanted: Filter | None = None, *, batch: int = 2
) -> tuple[list[int], int]:
    """Do it; returns the numbers of the deliveries changed, and how many were in flight."""
    done = list(work_through(database, act, wanted or Filter(), lambda: NOW, batch=batch))
    return [one.id for each in done for one in each.touched], sum(one.in_flight for one in done)


def recipients(database: Database) -> list[tuple[int, str]]:
    r = delivery_recipients.c
    with database.read() as connection:
        statement = select(r.delivery_id, r.state).order_by(r.id)
        return [(row.delivery_id, row.state) for row in connection.execute(statement)]


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
        # Whoever has it does not get it again.
        assert [state for _, state in recipients(database)] == ["waiting", "delivered"] * 2

    def test_a_dead_destination_is_forgotten(self, database: Database) -> None:
        for domain in ("b.mssante.fr", "c.mssante.fr"):
            know(database, domain, failures=7, dead_until=NOW + MINUTE, paused="why")
        with database.write() as connection:
            forget_dead(connection, ["b.mssante.fr", "d.mssante.fr"])
        b, c = (destination(database, f"{name}.mssante.fr") for name in "bc")
        assert (b.failures, b.dead_until, b.paused) == (0, None, "why")
        assert (c.failures, c.dead_until) == (7, NOW + MINUTE)


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


class TestDrop:
    def test_rows_are_deleted(self, database: Database) -> None:
        kept, *dropped = put(database, Letter(domain="c.mssante.fr"), Letter(), HELD, FAILED)
        assert perform(database, Drop(), Filter(domain="b.mssante.fr")) == (dropped, 0)
        assert list(rows(database)) == [kept]
        assert recipients(database) == [(kept, "waiting")]

    def test_reports_get_all_they_need_before_and_are_kept_in_the_same_transaction(
        self, database: Database
    ) -> None:
        letter = Letter(
            to=("x@b.mssante.fr", "y@b.mssante.fr"),
            recipient_states={"y@b.mssante.fr": "delivered"},
            attempts=2,
            last_error="450 later",
            columns={"envid": "E1", "ret": "HDRS", "smtputf8": True},
            recipient_columns={"notify": "FAILURE", "orcpt": "rfc822;o", "reply": "450 later"},
        )
        put(database, letter)
        reports = Reported()
        assert perform(database, Drop(reports)) == ([1], 0)
        facts = ("450 later", "FAILURE", "rfc822;o")
        assert reports.prepared == [
            Dropped(
                1, message_id(1), "b.mssante.fr", "claire@a.mssante.fr", True, "E1", "HDRS", 2,
                NOW, "450 later",
                (
                    DroppedRecipient("x@b.mssante.fr", State.WAITING, *facts),
                    DroppedRecipient("y@b.mssante.fr", State.DELIVERED, *facts),
                ),
            )
        ]  # fmt: skip
        assert destination(database, "reported-1.mssante.fr") is not None

    def test_a_report_that_fails_leaves_the_delivery(self, database: Database) -> None:
        (key,) = put(database, Letter())
        with pytest.raises(RuntimeError, match="no room"):
            perform(database, Drop(Reported(fails=True)))
        assert list(rows(database)) == [key]
        assert destination(database, "reported-1.mssante.fr") is None

    def test_what_was_tried_since_its_report_is_left_alone(self, database: Database) -> None:
        tried, gone = put(database, Letter(attempts=1), Letter())

        class Slow(Reported):
            def prepare(self, dropped: Sequence[Dropped]) -> None:
                super().prepare(dropped)
                with database.write() as connection:
                    connection.execute(
                        update(deliveries).where(deliveries.c.id == tried).values(attempts=2)
                    )

        reports = Slow()
        assert perform(database, Drop(reports)) == ([gone], 1)
        assert list(rows(database)) == [tried]
        assert destination(database, "reported-1.mssante.fr") is None
        assert destination(database, "reported-2.mssante.fr") is not None


class Reported:
    """Reports that leave a row in the transaction for each delivery."""

    def __init__(self, *, fails: bool = False) -> None:
        self.prepared: list[Dropped] = []
        self.fails = fails

    def prepare(self, dropped: Sequence[Dropped]) -> None:
        self.prepared += dropped

    def keep(self, connection: Connection, ids: Collection[int]) -> None:
        for key in ids:
            pause(connection, f"reported-{key}.mssante.fr", "for the test")
        if self.fails:
            raise RuntimeError("no room")


ACTS: tuple[tuple[Act, Letter], ...] = (
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
        self, database: Database, act: Act, letter: Letter, wanted: Filter, differs: Letter
    ) -> None:
        fits = replace(letter, to=("x@b.mssante.fr",), recipient_states={}, age=timedelta(days=6))
        other = replace(differs, state=letter.state, held=letter.held)
        put(database, fits, other)
        before = rows(database)[2]
        assert perform(database, act, wanted) == ([1], 0)
        assert rows(database)[2] == before

    @pytest.mark.parametrize(("act", "letter"), ACTS, ids=repr)
    def test_takes_a_state(self, database: Database, act: Act, letter: Letter) -> None:
        put(database, letter)
        stands = Standing.of(letter.state, letter.held)
        for other in set(Standing) - {stands}:
            assert perform(database, act, Filter(state=other)) == ([], 0)
        assert perform(database, act, Filter(state=stands)) == ([1], 0)

    @pytest.mark.parametrize(("act", "letter"), ACTS, ids=repr)
    def test_leaves_alone_what_is_in_flight(
        self, database: Database, act: Act, letter: Letter
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
        read = database.read

        @contextmanager
        def read_and_lose_time() -> Iterator[Connection]:
            with read() as connection:
                yield connection
            monkeypatch.undo()
            assert take(database, 1) == [taken]
            assert perform(database, Hold("faster"), Filter(ids=(held,))) == ([held], 0)

        monkeypatch.setattr(database, "read", read_and_lose_time)
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
    """Lease deliveries as a courier does; returns their numbers."""
    with database.write() as connection:
        return take_in(connection, limit)


def take_in(connection: Connection, limit: int) -> list[int]:
    due = NOW + timedelta(hours=2)  # what `put` has made is due by then
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


class TestPause:
    def test_the_reason_is_kept_until_resumed(self, database: Database) -> None:
        know(database, "b.mssante.fr", failures=3, dead_until=NOW + MINUTE, last_error="timeout")
        with database.write() as connection:
            pause(connection, "b.mssante.fr", "they asked")
            pause(connection, "c.mssante.fr", "first")
            pause(connection, "c.mssante.fr", "second")
            pause(connection, EVERYWHERE, "maintenance")
            assert pauses(connection) == {
                "*": "maintenance",
                "b.mssante.fr": "they asked",
                "c.mssante.fr": "second",
            }
        assert destination(database, "b.mssante.fr").failures == 3
        with database.write() as connection:
            assert resume(connection, "b.mssante.fr")
            assert not resume(connection, "b.mssante.fr")
            assert not resume(connection, "d.mssante.fr")
            assert list(pauses(connection)) == ["*", "c.mssante.fr"]
        row = destination(database, "b.mssante.fr")
        assert (row.failures, row.dead_until, row.last_error) == (0, None, "timeout")
