"""Ready queue: interactive before bulk, senders in turns, never more than the free slots."""

from collections import Counter
from collections.abc import Iterable
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from relay.delivery.ready_queue import ReadyQueue
from relay.queue.model import Due, Traffic

PERSON, BULK = Traffic.PERSON, Traffic.BULK


def some(
    number: int,
    sender: str,
    *,
    traffic: Traffic = PERSON,
    domain: str = "b",
    fresh: bool = False,
    start: int = 1,
) -> list[Due]:
    return [Due(n, traffic, domain, sender, fresh) for n in range(start, start + number)]


def knowing(*groups: Iterable[Due], max_cached: int = 1000) -> ReadyQueue:
    made = ReadyQueue(max_cached=max_cached)
    numbers = count(1)
    for group in groups:
        made.add(
            Due(next(numbers), one.traffic, one.domain, one.sender, one.fresh) for one in group
        )
    return made


def take(scheduler: ReadyQueue, room: int, places: int = 1000, bulk_room: int = 1000) -> list[Due]:
    return scheduler.take(room, bulk_room, lambda _: places)


def test_ten_thousand_reports_do_not_hold_up_a_letter() -> None:
    scheduler = knowing(some(10_000, "labo", traffic=BULK), some(1, "doctor"), max_cached=20_000)
    assert take(scheduler, 1)[0].sender == "doctor"


def test_senders_of_a_class_take_turns_whatever_they_have() -> None:
    scheduler = knowing(some(100, "a"), some(2, "b"), some(2, "c"))
    assert [due.sender for due in take(scheduler, 7)] == ["a", "b", "c", "a", "b", "c", "a"]


def test_whose_turn_it_is_is_remembered() -> None:
    scheduler = knowing(some(5, "a"), some(5, "b"))
    assert [take(scheduler, 1)[0].sender for _ in range(4)] == ["a", "b", "a", "b"]


def test_programs_have_a_turn_in_five_while_people_wait_and_all_of_them_else() -> None:
    scheduler = knowing(some(40, "doctor"), some(40, "labo", traffic=BULK))
    shares = Counter(due.traffic for due in take(scheduler, 50))
    assert shares == {PERSON: 40, BULK: 10}
    assert {due.traffic for due in take(scheduler, 30)} == {BULK}


def test_programs_never_take_more_places_than_they_may() -> None:
    scheduler = knowing(some(40, "labo", traffic=BULK), some(1, "doctor"))
    picked = take(scheduler, 30, bulk_room=3)
    assert Counter(due.traffic for due in picked) == {BULK: 3, PERSON: 1}
    assert take(scheduler, 30, bulk_room=0) == []


def test_a_destination_gets_no_more_than_its_places() -> None:
    scheduler = knowing(some(10, "a", domain="full"), some(10, "b", domain="free"))
    picked = scheduler.take(20, 20, lambda due: {"full": 2, "free": 5}[due.domain])
    assert Counter(due.domain for due in picked) == {"full": 2, "free": 5}
    assert len(scheduler) == 13


def test_a_sender_whose_destination_is_full_has_others_tried() -> None:
    scheduler = knowing(some(10, "a", domain="full"), some(1, "a", domain="free"))
    (due,) = scheduler.take(5, 5, lambda due: int(due.domain == "free"))
    assert due.domain == "free"


def test_new_mail_takes_turns_with_what_waited_longest() -> None:
    scheduler = ReadyQueue()
    scheduler.add(some(10, "a"))
    scheduler.add(some(2, "a", fresh=True, start=100))
    assert [due.id for due in take(scheduler, 5)] == [100, 1, 101, 2, 3]


def test_nothing_is_known_twice() -> None:
    scheduler = ReadyQueue()
    assert scheduler.add(some(3, "a")) == 3
    assert scheduler.add(some(4, "a")) == 1
    assert len(take(scheduler, 10)) == 4


def test_room_is_bounded_and_new_mail_makes_room_for_newer() -> None:
    scheduler = ReadyQueue(max_cached=10)
    assert scheduler.add(some(20, "a")) == 10
    assert scheduler.add(some(1, "b", fresh=True, start=100)) == 0
    scheduler = ReadyQueue(max_cached=10)
    scheduler.add(some(10, "a", fresh=True))
    assert scheduler.add(some(1, "b", fresh=True, start=100)) == 1
    assert {due.id for due in take(scheduler, 20)} == {*range(2, 11), 100}


def test_what_must_not_be_tried_is_forgotten() -> None:
    scheduler = knowing(some(5, "a", domain="dead"), some(5, "a", fresh=True))
    scheduler.forget(lambda due: due.domain == "dead")
    assert Counter(due.domain for due in take(scheduler, 20)) == {"b": 5}


DUES = st.lists(
    st.builds(
        Due,
        st.integers(1, 60),
        st.sampled_from(Traffic),
        st.sampled_from("pqr"),
        st.sampled_from("abc"),
        st.booleans(),
    ),
    unique_by=lambda due: due.id,
)


@given(DUES, st.integers(0, 30), st.integers(0, 30), st.integers(0, 5))
def test_each_goes_once_within_every_bound(
    dues: list[Due], room: int, bulk_room: int, places: int
) -> None:
    scheduler = ReadyQueue()
    scheduler.add(dues)
    picked = scheduler.take(room, bulk_room, lambda _: places)
    assert len(set(picked)) == len(picked) <= room
    assert set(picked) <= set(dues)
    assert sum(due.traffic is BULK for due in picked) <= bulk_room
    by_domain = Counter(due.domain for due in picked)
    assert all(number <= places for number in by_domain.values())
    assert len(scheduler) == len(dues) - len(picked)
    # No free slot stays unused while an allowed delivery is cached.
    if len(picked) < room:
        bulk = sum(due.traffic is BULK for due in picked)
        for due in set(dues) - set(picked):
            full = by_domain[due.domain] >= places
            assert full or (due.traffic is BULK and bulk >= bulk_room)


def test_what_is_known_for_a_destination_is_counted_by_class() -> None:
    scheduler = knowing(some(3, "x"), some(2, "y", traffic=BULK), some(4, "x", domain="c"))
    stock = [scheduler.stock(traffic, domain) for traffic in Traffic for domain in "bcd"]
    assert stock == [3, 4, 0, 2, 0, 0]
    scheduler.forget(lambda due: due.domain == "c")
    take(scheduler, 2)
    assert [scheduler.stock(PERSON, domain) for domain in "bc"] == [1, 0]
