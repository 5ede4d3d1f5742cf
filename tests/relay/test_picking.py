"""What a courier takes on: within windows, ahead of them where that is quick."""

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from relay.delivery.concurrency import QUICK, Congestion
from relay.delivery.ready_queue import MOST
from relay.delivery.rounds import Visit
from relay.delivery.selection import Picking
from relay.delivery.turn_transaction import NEWEST, Glance
from relay.delivery.window import WindowPolicy
from relay.queue.destinations import Known, Map
from relay.queue.due import Due, Newest
from relay.queue.model import Traffic
from tests.support.claims import CLAIM
from tests.support.clock import NOW

PERSON, BULK = Traffic.PERSON, Traffic.BULK
WINDOW = 3


class Courier:
    """What a courier knows and does, without its queue and its destinations."""

    def __init__(self, concurrency: int = 100) -> None:
        self.now = NOW
        self.congestion = Congestion(WindowPolicy(first=WINDOW, most=8), random.Random(1))
        self.picking = Picking(self.congestion, concurrency, self._clock)

    def _clock(self) -> datetime:
        return self.now

    def sees(
        self, *groups: Iterable[Due], newest: Iterable[Due] = (), paused: Iterable[str] = ()
    ) -> None:
        found = [due for group in groups for due in group]
        last = list(newest)
        numbers = frozenset(due.id for due in last)
        known = Map({domain: Known(paused=True) for domain in paused}, all_paused=False)
        full = len(last) == NEWEST
        self.picking.learn(Glance(known, Newest(last, numbers, full), {}, found, None))

    def takes(self, room: int = 100, *, ahead: bool = False) -> list[Due]:
        return self.picking.take([], room, ahead=ahead)


def mail(
    number: int, domain: str, *, traffic: Traffic = PERSON, start: int = 1, fresh: bool = False
) -> list[Due]:
    return [Due(start + n, traffic, domain, f"dr{n}", fresh) for n in range(number)]


def test_each_destination_gets_what_its_window_has_places_for() -> None:
    courier = Courier()
    courier.sees(mail(10, "b"), mail(10, "c", start=11))
    taken = courier.takes()
    assert sorted(due.domain for due in taken) == ["b"] * WINDOW + ["c"] * WINDOW
    for due in taken:
        courier.congestion.begun(replace(CLAIM, id=due.id, domain=due.domain))
    assert courier.takes() == []
    courier.congestion.ended(replace(CLAIM, domain="c"))
    assert [due.domain for due in courier.takes()] == ["c"]


def test_what_is_picked_already_counts_against_places_and_room() -> None:
    courier = Courier()
    courier.sees(mail(10, "b"), mail(10, "c", start=11))
    picked = courier.picking.take([], 2)
    both = courier.picking.take(picked, 4)
    assert both[:2] == picked
    assert len(both) == 4
    everything = courier.picking.take(both, 100)
    assert sorted(due.domain for due in everything) == ["b"] * WINDOW + ["c"] * WINDOW
    assert len({due.id for due in everything}) == 2 * WINDOW


def test_as_many_again_are_taken_ahead_for_who_is_quick() -> None:
    courier = Courier()
    courier.congestion.took("b", QUICK)
    courier.congestion.took("c", QUICK + 0.1)
    courier.sees(mail(20, "b"), mail(20, "c", start=21))
    assert sorted(due.domain for due in courier.takes()) == ["b"] * WINDOW + ["c"] * WINDOW
    courier.sees(mail(20, "b"), mail(20, "c", start=21))
    ahead = courier.takes(ahead=True)
    assert sorted(due.domain for due in ahead) == ["b"] * 2 * WINDOW + ["c"] * WINDOW


def test_mail_to_be_taken_ahead_is_looked_for_and_kept_while_the_window_is_full() -> None:
    courier = Courier()
    courier.congestion.took("b", QUICK)
    for _ in range(WINDOW):
        courier.congestion.begun(CLAIM)
    courier.picking.learn(Glance(None, Newest(), {}, mail(WINDOW - 1, "b"), {PERSON: ["b"]}))
    assert courier.picking.visits() == [Visit(PERSON, "b", None)]
    assert courier.takes() == []
    assert len(courier.takes(ahead=True)) == WINDOW - 1


def test_programs_leave_a_quarter_of_the_courier_to_people() -> None:
    courier = Courier(concurrency=4)
    courier.sees(*([due] for n in range(9) for due in mail(1, f"d{n}", traffic=BULK, start=n + 1)))
    assert len(courier.takes()) == 3
    assert len(courier.picking.take(mail(2, "x", traffic=BULK, start=90), 100)) == 2 + 1


def test_looks_are_for_destinations_of_which_too_little_is_known() -> None:
    courier = Courier()
    lanes = {PERSON: ["b", "c"], BULK: ["b"]}
    courier.picking.learn(Glance(None, Newest(), {}, mail(WINDOW, "b"), lanes))
    # Enough is known for people at b; programs there have one place less.
    assert courier.picking.visits() == [Visit(BULK, "b", None), Visit(PERSON, "c", None)]
    assert courier.picking.visits() == []
    courier.picking.feeding.freed("b")
    courier.takes()
    assert courier.picking.visits() == [Visit(PERSON, "b", None)]


def test_a_visit_goes_on_where_the_last_one_ended() -> None:
    courier = Courier()
    first = Visit(PERSON, "b", None)
    courier.picking.learn(Glance(None, Newest(), {first: "dr7"}, [], {PERSON: ["b"]}))
    assert courier.picking.visits() == [Visit(PERSON, "b", "dr7")]


def test_mail_for_who_must_not_be_tried_is_not_kept() -> None:
    courier = Courier()
    courier.sees(mail(5, "b"), newest=mail(5, "b", start=11, fresh=True), paused="b")
    courier.sees()
    assert courier.takes() == []


def test_mail_that_has_just_come_is_kept_for_who_is_busy() -> None:
    courier = Courier()
    for _ in range(WINDOW):
        courier.congestion.begun(CLAIM)
    courier.sees(mail(5, "b"), newest=mail(1, "b", start=11, fresh=True))
    courier.congestion.ended(CLAIM)
    # Of the others nothing was kept: they come again with the next visit.
    assert [due.id for due in courier.takes()] == [11]


@pytest.mark.parametrize("dead", [False, True])
def test_a_full_memory_forgets_what_cannot_go_now(*, dead: bool) -> None:
    courier = Courier()
    courier.sees(mail(MOST // 2 + 1, "b"))
    if dead:
        while not courier.congestion.failed("b", "down", courier.now):
            pass
    courier.sees(mail(1, "c", start=MOST))
    courier.now += timedelta(days=1)
    assert {due.domain for due in courier.takes()} == ({"c"} if dead else {"b", "c"})


def rested(courier: Courier) -> Courier:
    """One that has been round its destinations and found nothing new."""
    courier.picking.learn(Glance(None, Newest(), {}, [], {PERSON: []}))
    assert courier.picking.feeding.rests
    return courier


def test_more_new_mail_than_a_look_sees_is_gone_round_for_at_once() -> None:
    # A burst: what lies behind the newest must not wait for the next poll.
    courier = rested(Courier())
    courier.sees(newest=mail(NEWEST - 1, "b", fresh=True))
    assert courier.picking.feeding.rests
    courier.sees(newest=mail(NEWEST, "b", start=10, fresh=True))
    assert courier.picking.feeding.rests  # some of it was there: all that came since was seen
    courier.sees(newest=mail(NEWEST, "b", start=1000, fresh=True))
    assert courier.picking.feeding.due


def test_who_may_be_tried_again_is_visited_at_once() -> None:
    courier = Courier()
    courier.sees(paused="b")
    courier.picking.learn(Glance(None, Newest(), {}, [], {PERSON: ["b"]}))
    assert courier.picking.visits() == []
    courier.picking.learn(Glance(None, Newest(), {}, [], None))
    assert courier.picking.feeding.rests
    courier.sees()
    assert courier.picking.visits() == [Visit(PERSON, "b", None)]


def test_where_all_is_let_go_a_round_begins() -> None:
    courier = Courier()
    courier.picking.learn(Glance(Map({}, all_paused=True), Newest(), {}, [], {PERSON: ["b"]}))
    assert courier.picking.visits() == []
    courier.sees()
    assert courier.picking.feeding.due
