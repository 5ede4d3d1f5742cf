"""Concurrency limits: free slots of destinations, and changes of health for the database."""

import random
from dataclasses import replace
from datetime import timedelta

from relay.delivery.concurrency import ConcurrencyLimits
from relay.delivery.in_flight import DeliveryAttempt, InFlight, Progress
from relay.delivery.window import WindowPolicy
from relay.queue.model import ALL, Claim, DestinationRow, DestinationTable
from tests.support.clock import NOW
from tests.support.delivery.claims import BULK, CLAIM, PERSON

MINUTE = timedelta(minutes=1)


def made() -> ConcurrencyLimits:
    return ConcurrencyLimits(WindowPolicy(first=3, largest=4), random.Random(1), InFlight())


def begun(one: ConcurrencyLimits, claim: Claim) -> DeliveryAttempt:
    attempt = DeliveryAttempt(claim, Progress("s"))
    one.in_flight.begin(attempt)
    return attempt


def die(one: ConcurrencyLimits) -> None:
    while not one.note_unreachable("b", "down", NOW):
        pass


def test_slots_are_taken_and_given_back() -> None:
    one = made()
    first, second = begun(one, CLAIM), begun(one, replace(CLAIM, traffic=BULK))
    assert (
        one.free_slots("b", PERSON, NOW),
        one.free_slots("b", BULK, NOW),
        one.in_flight.bulk,
    ) == (1, 0, 1)
    one.in_flight.end(first)
    one.in_flight.end(second)
    assert (
        one.free_slots("b", PERSON, NOW),
        one.free_slots("b", BULK, NOW),
        one.in_flight.bulk,
    ) == (3, 2, 0)


def test_death_is_written_down_and_so_is_life() -> None:
    one = made()
    die(one)
    dead = one.changes["b"]
    assert (dead.failures, dead.last_error) == (1, "down")
    assert dead.dead_until is not None
    one.note_written({"b": dead})
    assert one.changes == {}
    assert one.barred("b", NOW)
    assert one.free_slots("b", BULK, dead.dead_until) == 1  # a probe, of any class
    one.note_reachable("b")
    assert one.changes == {"b": DestinationRow()}
    assert one.free_slots("b", PERSON, NOW) == 3


def test_what_is_not_written_yet_is_not_undone_by_what_was_read() -> None:
    one = made()
    die(one)
    one.adopt(DestinationTable({}, all_paused=False))
    assert one.is_dead("b")
    one.note_written(dict(one.changes))
    # An operator declared it alive.
    assert one.adopt(DestinationTable({}, all_paused=False)) == {"b"}
    assert not one.is_dead("b")


def test_what_may_go_again_is_told_once() -> None:
    one = made()
    later = NOW + MINUTE
    rows = {
        "b": DestinationRow(failures=2, dead_until=later, last_error="down"),
        "c": DestinationRow(paused=True),
    }
    assert one.adopt(DestinationTable(rows, all_paused=True)) == set()
    assert one.adopt(DestinationTable(rows, all_paused=False)) == {ALL}
    # Dead and paused: no attempt until both have ended.
    assert one.adopt(
        DestinationTable({"b": replace(rows["b"], paused=True)}, all_paused=False)
    ) == {"c"}
    assert one.adopt(DestinationTable({"b": rows["b"]}, all_paused=False)) == set()
    assert one.adopt(DestinationTable({}, all_paused=False)) == {"b"}
    assert one.adopt(DestinationTable({}, all_paused=False)) == set()


def test_a_change_after_the_one_that_was_written_stays_to_be_written() -> None:
    one = made()
    die(one)
    before = dict(one.changes)
    one.note_unreachable("b", "down again", NOW)
    one.note_written(before)
    assert one.changes["b"].failures == 2


def test_others_dead_and_paused_ones_are_known() -> None:
    one = made()
    later = NOW + MINUTE
    rows = {
        "b": DestinationRow(failures=2, dead_until=later, last_error="down"),
        "c": DestinationRow(paused=True),
    }
    one.adopt(DestinationTable(rows, all_paused=False))
    assert [one.barred(d, NOW) for d in "bcd"] == [True, True, False]
    assert [one.is_dead(d) for d in "bcd"] == [True, False, False]
    one.adopt(DestinationTable({"b": replace(rows["b"], paused=True)}, all_paused=False))
    assert one.is_dead("b")
    one.adopt(DestinationTable(rows, all_paused=True))
    assert one.barred("d", NOW)


def test_who_answers_fast_gets_a_second_window_ahead() -> None:
    one = made()
    begun(one, CLAIM)
    assert one.free_slots("b", PERSON, NOW, ahead=True) == 2
    one.note_duration("b", 0.01)
    assert [one.free_slots("b", traffic, NOW, ahead=True) for traffic in (PERSON, BULK)] == [5, 3]
    assert (one.free_slots("b", PERSON, NOW), one.window("b", PERSON, NOW)) == (2, 3)
    one.note_duration("b", 10)
    assert one.free_slots("b", PERSON, NOW, ahead=True) == 2


def test_a_dead_one_gets_its_probe_and_nothing_ahead() -> None:
    one = made()
    one.note_duration("b", 0.01)
    die(one)
    assert one.free_slots("b", PERSON, NOW, ahead=True) == 0
    assert one.free_slots("b", PERSON, NOW + 99 * MINUTE, ahead=True) == 1
