"""Backoff (RFC 5321 §4.5.4.1): doubled up to the longest wait, with jitter."""

from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.queue.retry import RetryPolicy

MINUTE = timedelta(minutes=1)
SPANS = st.timedeltas(timedelta(milliseconds=1), timedelta(days=365))
JITTER = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("attempts", "minutes"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (10**9, 60)]
)
def test_the_default_waits(attempts: int, minutes: int) -> None:
    assert RetryPolicy().wait(attempts, 0) == minutes * MINUTE


def test_jitter_adds_up_to_a_fifth() -> None:
    assert RetryPolicy().wait(1, 0.5) == timedelta(seconds=66)
    assert RetryPolicy().wait(7, 0.999) < 1.2 * timedelta(hours=1)


def test_a_first_wait_over_the_longest_is_the_longest() -> None:
    assert RetryPolicy(first=2 * MINUTE, longest=MINUTE).wait(3, 0) == MINUTE


@given(SPANS, SPANS, st.integers(1, 10_000), JITTER)
@example(timedelta(days=1), timedelta(days=7), 40, 0.0)
def test_waits_never_shrink_nor_pass_their_bounds(
    first: timedelta, longest: timedelta, attempts: int, jitter: float
) -> None:
    policy = RetryPolicy(first, longest)
    wait = policy.wait(attempts, 0)
    assert min(first, longest) <= wait <= longest
    assert policy.wait(attempts + 1, 0) == min(2 * wait, longest)
    assert wait <= policy.wait(attempts, jitter) <= wait * 1.2


@pytest.mark.parametrize(("tries", "minutes"), [(1, 15), (2, 60), (3, 240), (4, 240), (10**9, 240)])
def test_the_waits_after_an_unknown_outcome(tries: int, minutes: int) -> None:
    assert RetryPolicy().unknown_wait(tries, 0) == minutes * MINUTE
    assert RetryPolicy().unknown_wait(tries, 0.5) == 1.1 * minutes * MINUTE
