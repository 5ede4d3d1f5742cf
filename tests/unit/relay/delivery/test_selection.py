"""Selection: deliveries to try next, within windows and as look-ahead, and reads of the queue."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.delivery.concurrency import QUICK
from relay.delivery.in_flight import DeliveryAttempt
from relay.delivery.ready_queue import MAX_CACHED
from relay.delivery.rounds import VISITS
from relay.delivery.selection import NeedsRead
from relay.queue.due import NEWEST
from relay.queue.model import (
    DestinationRow,
    DestinationTable,
    Due,
    Newest,
    QueueSnapshot,
    Traffic,
    Visit,
)
from tests.support.delivery.selection_driver import (
    BULK,
    EMPTY,
    PERSON,
    POLL,
    WINDOW,
    SelectionDriver,
    mail,
)


def test_each_destination_gets_what_its_window_has_slots_for() -> None:
    driver = SelectionDriver()
    driver.sees(mail(10, "b"), mail(10, "c", start=11))
    taken = driver.takes()
    assert sorted(due.domain for due in taken) == ["b"] * WINDOW + ["c"] * WINDOW
    attempts = driver.begins(*taken)
    assert driver.takes() == []
    driver.ends(next(one for one in attempts if one.claim.domain == "c"))
    assert [due.domain for due in driver.takes()] == ["c"]


def test_deliveries_selected_before_a_read_count_against_slots_and_room() -> None:
    driver = SelectionDriver()
    driver.sees(mail(10, "b"))
    driver.selection.note_end("b")
    driver.goes_round(["c"])
    needs = driver.selection.next(4)
    assert isinstance(needs, NeedsRead)
    assert [due.domain for due in needs.taken] == ["b"] * WINDOW
    brought = replace(EMPTY, found=mail(10, "c", start=11) + mail(9, "b", start=30))
    selected = driver.selection.resume(needs, brought, 4)
    assert selected.deliveries[:WINDOW] == needs.taken
    assert [due.domain for due in selected.deliveries[WINDOW:]] == ["c"]
    assert len({due.id for due in selected.deliveries}) == 4


def test_a_round_goes_on_behind_rows_that_are_selected_and_not_leased_yet() -> None:
    # A visit reads few rows of each sender: the selected rows may hide the rows behind them.
    driver = SelectionDriver()
    driver.goes_round(["b"], found=mail(WINDOW, "b"))
    needs = driver.selection.next(100)
    assert isinstance(needs, NeedsRead)
    assert len(needs.taken) == WINDOW
    driver.selection.resume(needs, replace(EMPTY, found=mail(WINDOW, "b")), 100)
    assert not driver.rests()


def test_a_delivery_is_selected_once_though_it_is_read_again() -> None:
    driver = SelectionDriver()
    driver.sees(mail(2, "b"))
    driver.goes_round(["b"])
    needs = driver.selection.next(100)
    assert isinstance(needs, NeedsRead)
    assert len(needs.taken) == 2
    newest = Newest(mail(2, "b"), frozenset({1, 2}))
    brought = replace(EMPTY, newest=newest, found=mail(2, "b"))
    assert driver.selection.resume(needs, brought, 100).deliveries == needs.taken


def test_as_many_again_are_taken_ahead_for_a_quick_destination() -> None:
    driver = SelectionDriver()
    driver.limits.note_duration("b", QUICK)
    driver.limits.note_duration("c", QUICK + 0.1)
    driver.sees(mail(20, "b"), mail(20, "c", start=21))
    taken = driver.takes()
    assert sorted(due.domain for due in taken) == ["b"] * 2 * WINDOW + ["c"] * WINDOW
    # First the windows of all destinations, then the look-ahead.
    assert sorted(due.domain for due in taken[: 2 * WINDOW]) == ["b"] * WINDOW + ["c"] * WINDOW


def test_mail_to_be_taken_ahead_is_read_and_kept_while_the_window_is_full() -> None:
    driver = SelectionDriver()
    driver.limits.note_duration("b", QUICK)
    driver.begins(*mail(WINDOW, "b", start=90))
    driver.goes_round(["b"], found=mail(WINDOW - 1, "b"))
    needs = driver.selection.next(100)
    assert isinstance(needs, NeedsRead)
    assert (needs.visits, needs.taken) == ([Visit(PERSON, "b", None)], [])
    assert len(driver.selection.resume(needs, EMPTY, 100).deliveries) == WINDOW - 1


def test_bulk_leaves_a_quarter_of_the_process_to_interactive_mail() -> None:
    driver = SelectionDriver(concurrency=4)
    driver.sees(*(mail(1, f"d{n}", traffic=BULK, start=n + 1) for n in range(9)))
    taken = driver.takes()
    assert len(taken) == 3
    one, *_ = driver.begins(*taken)
    assert driver.takes() == []
    driver.ends(one)
    assert len(driver.takes()) == 1


def test_destinations_of_which_too_little_is_known_are_read() -> None:
    driver = SelectionDriver()
    driver.goes_round(["b", "c"], bulk=["b"], found=mail(WINDOW, "b"))
    needs = driver.reads(EMPTY)
    # Enough interactive mail to b is cached; bulk has one slot less there.
    assert needs.visits == [Visit(BULK, "b", None), Visit(PERSON, "c", None)]
    assert driver.reads(EMPTY).visits == []
    driver.selection.note_end("b")
    again = driver.selection.next(100)  # takes the cached deliveries
    assert isinstance(again, NeedsRead)
    assert again.visits == [Visit(PERSON, "b", None)]


def test_a_visit_goes_on_where_the_last_one_ended() -> None:
    driver = SelectionDriver()
    first = Visit(PERSON, "b", None)
    driver.reads(replace(EMPTY, visited={first: "dr7"}, destinations={PERSON: ["b"]}))
    assert driver.visits() == [Visit(PERSON, "b", "dr7")]


def test_mail_for_a_destination_that_is_paused_is_not_kept() -> None:
    driver = SelectionDriver()
    driver.sees(mail(5, "b"), newest=mail(5, "b", start=11, fresh=True), paused="b")
    driver.sees()
    assert driver.takes() == []


def test_the_newest_mail_is_kept_for_a_full_window() -> None:
    driver = SelectionDriver()
    attempts = driver.begins(*mail(WINDOW, "b", start=90))
    driver.sees(mail(5, "b"), newest=mail(1, "b", start=11, fresh=True))
    driver.ends(attempts[0])
    # The others were not cached: the next visit reads them again.
    assert [due.id for due in driver.takes()] == [11]


@pytest.mark.parametrize("dead", [False, True])
def test_a_full_memory_forgets_what_cannot_go_now(*, dead: bool) -> None:
    driver = SelectionDriver()
    driver.sees(mail(MAX_CACHED // 2 + 1, "b"))
    if dead:
        while not driver.limits.note_unreachable("b", "down", driver.now):
            pass
    driver.sees(mail(1, "c", start=MAX_CACHED))
    driver.now += timedelta(days=1)
    assert {due.domain for due in driver.takes()} == ({"c"} if dead else {"b", "c"})


def test_a_delivery_for_a_dead_destination_is_a_probe() -> None:
    driver = SelectionDriver()
    while not driver.limits.note_unreachable("b", "down", driver.now):
        pass
    driver.now += timedelta(days=1)
    driver.sees(mail(5, "b"), mail(2, "c", start=11))
    selected = driver.selection.next(100)
    if isinstance(selected, NeedsRead):
        selected = driver.selection.resume(selected, EMPTY, 100)
    assert len(selected.probes) == 1
    assert {due.id for due in selected.deliveries if due.domain == "b"} == selected.probes


def rested(driver: SelectionDriver) -> SelectionDriver:
    """Let the selection complete a round without new deliveries."""
    driver.goes_round([])
    assert driver.rests()
    return driver


def test_the_queue_is_read_after_new_mail_and_at_each_poll() -> None:
    driver = rested(SelectionDriver())
    driver.monotonic.now += POLL - 0.1
    assert driver.rests()
    driver.selection.note_new_mail()
    found = driver.selection.next(100)
    assert isinstance(found, NeedsRead)
    assert (found.with_newest, found.round_due) == (True, False)
    assert driver.rests()  # read once
    driver.monotonic.now += 0.1
    found = driver.selection.next(100)
    assert isinstance(found, NeedsRead)
    assert (found.with_newest, found.round_due) == (True, True)


def test_a_read_that_failed_is_due_again_with_its_round() -> None:
    driver = rested(SelectionDriver())
    driver.monotonic.now += POLL
    assert isinstance(driver.selection.next(100), NeedsRead)  # the database was away
    found = driver.selection.next(100)
    assert isinstance(found, NeedsRead)
    assert found.round_due


def test_more_new_mail_than_a_read_brings_is_gone_round_for_at_once() -> None:
    # A burst: mail beyond the newest must not wait for the next poll.
    driver = rested(SelectionDriver())
    driver.sees(newest=mail(NEWEST - 1, "b", fresh=True))
    driver.begins(*driver.takes())
    assert driver.rests()
    driver.sees(newest=mail(NEWEST, "b", start=10, fresh=True))
    assert driver.rests()  # overlap with the last read: all new mail was read
    driver.sees(newest=mail(NEWEST, "b", start=1000, fresh=True))
    found = driver.selection.next(100)
    assert isinstance(found, NeedsRead)
    assert found.round_due


def test_a_destination_that_may_be_tried_again_is_visited_at_once() -> None:
    driver = SelectionDriver()
    driver.sees(paused="b")
    driver.goes_round(["b"])
    assert driver.visits() == []
    assert driver.visits() == []
    assert driver.rests()
    driver.sees()
    assert driver.visits() == [Visit(PERSON, "b", None)]


def test_a_round_begins_when_the_pause_of_all_ends() -> None:
    driver = SelectionDriver()
    driver.reads(
        replace(EMPTY, known=DestinationTable({}, all_paused=True), destinations={PERSON: ["b"]})
    )
    assert driver.visits() == []
    driver.sees()
    found = driver.selection.next(100)
    assert isinstance(found, NeedsRead)
    assert found.round_due


def test_there_is_more_to_read_until_the_round_is_over() -> None:
    driver = SelectionDriver()
    driver.goes_round([f"d{n}" for n in range(VISITS + 1)])
    more = []
    for _ in range(2):
        needs = driver.selection.next(100)
        assert isinstance(needs, NeedsRead)
        more.append(driver.selection.resume(needs, EMPTY, 100).more)
    assert more == [True, False]


class Machine(RuleBasedStateMachine):
    """A queue of some senders and destinations, delivered by selections until it is empty.

    In any sequence: room, windows and the share of bulk hold, each delivery is selected once, and
    all waiting mail is selected in the end.
    """

    ROOM = 6

    def __init__(self) -> None:
        super().__init__()
        self.driver = SelectionDriver(self.ROOM)
        self.queue: dict[int, Due] = {}
        self.attempts: list[DeliveryAttempt] = []
        self.paused: set[str] = set()
        self.number = 0

    @rule(
        domain=st.sampled_from("abc"),
        sender=st.sampled_from("xy"),
        traffic=st.sampled_from(Traffic),
        count=st.integers(1, 5),
    )
    def mail_comes(self, domain: str, sender: str, traffic: Traffic, count: int) -> None:
        for _ in range(count):
            self.number += 1
            self.queue[self.number] = Due(self.number, traffic, domain, sender, fresh=True)
        self.driver.selection.note_new_mail()

    @rule(domain=st.sampled_from("abc"))
    def a_destination_is_paused_or_resumed(self, domain: str) -> None:
        self.paused ^= {domain}

    @rule(seconds=st.sampled_from([0.0, POLL]), away=st.booleans())
    def an_iteration(self, seconds: float, *, away: bool) -> None:
        driver, room = self.driver, self.ROOM - len(self.driver.in_flight)
        driver.monotonic.now += seconds
        found = driver.selection.next(room)
        if isinstance(found, NeedsRead):
            if away:
                return  # the database is away: earlier selections are read again
            found = driver.selection.resume(found, self._read(found), room)
        assert len(found.deliveries) <= room
        for due in found.deliveries:
            del self.queue[due.id]  # only once
        self.attempts += driver.begins(*found.deliveries)

    def _read(self, needs: NeedsRead) -> QueueSnapshot:
        def due_to(visit: Visit) -> list[Due]:
            return [
                one
                for one in self.queue.values()
                if (one.traffic, one.domain) == (visit.traffic, visit.domain)
            ]

        newest = sorted(self.queue.values(), key=lambda one: -one.id)[:NEWEST]
        numbers = frozenset(one.id for one in newest)
        rows = {domain: DestinationRow(paused=True) for domain in self.paused}
        destinations = {
            traffic: sorted({one.domain for one in self.queue.values() if one.traffic is traffic})
            for traffic in Traffic
        }
        return QueueSnapshot(
            DestinationTable(rows, all_paused=False) if needs.with_newest else None,
            Newest(newest, numbers, full=False) if needs.with_newest else Newest(),
            dict.fromkeys(needs.visits),
            [one for visit in needs.visits for one in due_to(visit)],
            destinations if needs.round_due else None,
        )

    @precondition(lambda self: self.attempts)
    @rule(which=st.integers(0, 99), seconds=st.sampled_from([QUICK, 1.0]))
    def an_attempt_ends(self, which: int, seconds: float) -> None:
        attempt = self.attempts.pop(which % len(self.attempts))
        self.driver.limits.note_duration(attempt.claim.domain, seconds)
        self.driver.ends(attempt)

    @invariant()
    def limits_hold(self) -> None:
        in_flight = self.driver.in_flight
        assert len(in_flight) <= self.ROOM
        assert in_flight.bulk <= self.ROOM * 3 // 4
        assert all(in_flight.to(domain) <= 2 * WINDOW for domain in "abc")

    def teardown(self) -> None:
        self.paused.clear()
        for _ in range(4 * self.number + 8):
            self.an_iteration(POLL, away=False)
            while self.attempts:
                self.an_attempt_ends(0, QUICK)
        assert self.queue == {}


TestSelection = Machine.TestCase
TestSelection.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
