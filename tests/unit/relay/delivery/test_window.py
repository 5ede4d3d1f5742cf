"""Window of a destination, its death and its probes."""

from datetime import datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.delivery.window import DestinationWindow, WindowPolicy
from relay.queue.retry import RetryPolicy
from tests.support.clock import NOW

MINUTE = timedelta(minutes=1)
POLICY = WindowPolicy(first=5, largest=8, probing=RetryPolicy(MINUTE, 10 * MINUTE))


def made(policy: WindowPolicy = POLICY) -> DestinationWindow:
    return DestinationWindow(policy)


def test_it_starts_with_the_first_window_and_never_over_the_most() -> None:
    assert made().allowance(NOW) == 5
    assert made(WindowPolicy(first=5, largest=3)).allowance(NOW) == 3


def test_a_cohort_that_went_well_widens_by_one() -> None:
    one = made()
    for expected in (5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 7):
        assert not one.note_reachable()
        assert one.window == expected
    for _ in range(100):
        one.note_reachable()
    assert one.window == POLICY.largest


def test_a_failed_cohort_without_a_success_is_death() -> None:
    one = made()
    assert [one.note_unreachable(NOW, 0) for _ in range(5)] == [False, False, False, False, True]
    assert one.allowance(NOW) == 0
    assert one.dead_until == NOW + MINUTE


def test_failures_between_successes_narrow_the_window_down_to_one() -> None:
    one = made()
    for _ in range(30):
        assert not one.note_unreachable(NOW, 0)
        assert not one.note_unreachable(NOW, 0)
        one.note_reachable()
        if one.window == 2:
            break
    assert one.window < 5
    assert not one.dead


def test_probes_come_one_at_a_time_after_waits_that_double() -> None:
    one = made()
    for _ in range(5):
        one.note_unreachable(NOW, 0)
    now, waits = NOW, []
    for _ in range(6):
        assert one.dead_until is not None
        assert one.allowance(one.dead_until - timedelta(seconds=1)) == 0
        waits.append((one.dead_until - now) // MINUTE)
        now = one.dead_until
        assert one.allowance(now) == 1
        assert one.note_unreachable(now, 0)
    assert waits == [1, 2, 4, 8, 10, 10]
    assert one.note_reachable()
    assert (one.allowance(now), one.failures) == (5, 0)


def test_a_wider_patience() -> None:
    one = made(WindowPolicy(first=2, cohorts=2.0))
    assert [one.note_unreachable(NOW, 0) for _ in range(3)] == [
        False,
        False,
        True,
    ]  # 1/2 + 1/2 + 1/1


@pytest.mark.parametrize("dead_until", [None, NOW])
def test_what_others_know_counts(dead_until: datetime | None) -> None:
    one = made()
    one.adopt(3, NOW + MINUTE)
    assert one.allowance(NOW) == 0
    one.adopt(0, dead_until)
    assert one.allowance(NOW) == (1 if dead_until else 5)


class Destinations(RuleBasedStateMachine):
    """In any sequence, a destination is not hammered, and never stays dead for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.one = made()
        self.now = NOW
        self.failures = 0  # in a row

    @rule()
    def succeed(self) -> None:
        was_dead = self.one.dead
        assert self.one.note_reachable() is was_dead
        assert not self.one.dead
        self.failures = 0

    @rule(jitter=st.floats(0, 1, exclude_max=True))
    def fail(self, jitter: float) -> None:
        was_dead = self.one.dead
        self.failures += 1
        died = self.one.note_unreachable(self.now, jitter)
        assert died or not was_dead
        if died:
            assert self.one.dead_until is not None
            wait = self.one.dead_until - self.now
            assert MINUTE <= wait <= 12 * MINUTE

    @rule(minutes=st.integers(0, 30))
    def time_goes_by(self, minutes: int) -> None:
        self.now += minutes * MINUTE

    @precondition(lambda self: self.one.dead)
    @rule()
    def an_operator_revives_it(self) -> None:
        self.one.adopt(0, None)
        assert self.one.allowance(self.now) == POLICY.first
        self.failures = 0

    @invariant()
    def the_window_keeps_its_bounds(self) -> None:
        assert 1 <= self.one.window <= POLICY.largest
        assert 0 <= self.one.allowance(self.now) <= POLICY.largest

    @invariant()
    def the_dead_are_probed_one_at_a_time_and_always_again(self) -> None:
        if self.one.dead:
            assert self.one.failures > 0
            assert self.one.allowance(self.now) <= 1
            assert self.one.allowance(self.now + timedelta(hours=1)) == 1

    @invariant()
    def it_dies_after_a_cohort_at_most(self) -> None:
        assert self.one.dead or self.failures < POLICY.largest


TestDestinations = Destinations.TestCase
TestDestinations.settings = settings(max_examples=60, stateful_step_count=40)
