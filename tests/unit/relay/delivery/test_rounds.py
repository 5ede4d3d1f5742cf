"""Rounds over the destinations of the queue."""

from relay.delivery.rounds import VISITS, DestinationRounds
from relay.queue.model import Traffic, Visit

PERSON, BULK = Traffic.PERSON, Traffic.BULK


def all_of(_traffic: Traffic, _domain: str) -> bool:
    return True


def with_round(people: list[str], programs: list[str]) -> DestinationRounds:
    feeding = DestinationRounds()
    feeding.note_read({PERSON: people, BULK: programs}, 0)
    return feeding


def test_people_and_programs_are_visited_in_turns() -> None:
    found = with_round(["a", "b", "c"], ["a"]).visits(all_of)
    assert [(one.traffic, one.domain) for one in found] == [
        (PERSON, "a"), (BULK, "a"), (PERSON, "b"), (PERSON, "c"),
    ]  # fmt: skip


def test_a_few_at_a_time_and_unwanted_ones_passed_over() -> None:
    feeding = with_round([f"d{n}" for n in range(20)], [])
    first = feeding.visits(lambda _, domain: domain != "d0")
    second = feeding.visits(all_of)
    assert [one.domain for one in first] == [f"d{n}" for n in range(1, VISITS + 1)]
    assert second[0].domain == f"d{VISITS + 1}"


def test_a_destination_with_many_senders_goes_on_in_the_next_round() -> None:
    feeding = with_round(["a"], [])
    (visit,) = feeding.visits(all_of)
    assert visit == Visit(PERSON, "a", None)
    feeding.note_visit(visit, "m@x")
    feeding.note_read({PERSON: ["a"], BULK: []}, 0)
    (visit,) = feeding.visits(all_of)
    assert visit.after == "m@x"
    feeding.note_visit(visit, None)
    feeding.note_read({PERSON: ["a"], BULK: []}, 0)
    assert feeding.visits(all_of)[0].after is None


def test_a_round_that_is_asked_for_during_another_follows_it() -> None:
    # The round in progress may have passed the new mail already.
    feeding = with_round(["a"], [])
    feeding.begin()
    assert not feeding.due
    feeding.visits(all_of)
    feeding.note_read(None, 0)
    assert feeding.due


def test_after_a_round_with_news_comes_another_and_else_rest() -> None:
    feeding = with_round(["a"], [])
    feeding.visits(all_of)
    feeding.note_read(None, 3)
    seen = [feeding.due]
    feeding.note_read({PERSON: ["a"], BULK: []}, 0)
    seen.append(feeding.due)
    feeding.visits(all_of)
    feeding.note_read(None, 0)
    assert feeding.rests
    feeding.begin()
    seen.append(feeding.due)
    assert seen == [True, False, True]


def test_a_round_under_way_is_not_begun_anew() -> None:
    feeding = with_round(["a"], [])
    feeding.begin()
    assert not feeding.due
    assert not feeding.rests


def test_one_that_was_passed_over_comes_round_once_a_delivery_to_it_ended() -> None:
    feeding = with_round(["a", "b"], ["a"])
    feeding.visits(lambda _, domain: domain == "b")
    assert feeding.rests
    feeding.requeue("b")  # visited, not skipped
    assert feeding.rests
    for _ in range(2):
        feeding.requeue("a")
    assert [(one.traffic, one.domain) for one in feeding.visits(all_of)] == [
        (PERSON, "a"), (BULK, "a"),
    ]  # fmt: skip


def test_a_new_round_has_all_of_them_once() -> None:
    feeding = with_round(["a"], [])
    feeding.visits(lambda *_: False)
    feeding.note_read({PERSON: ["a"], BULK: []}, 0)
    feeding.requeue("a")
    assert len(feeding.visits(all_of)) == 1
