"""Pauses between attempts to fetch a list."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whitelist.fetch.http import retry_delays


def test_delays_double_up_to_the_longest() -> None:
    assert retry_delays(6, 10, 60, lambda: 0.0) == (10, 20, 40, 60, 60)
    assert retry_delays(6, 10, 60, lambda: 0.5) == (7.5, 15, 30, 45, 45)
    assert retry_delays(2, 90, 60, lambda: 0.0) == (60,)
    assert retry_delays(1, 10, 60, lambda: 0.0) == ()


@given(
    st.integers(1, 60),
    st.floats(0.1, 100),
    st.floats(0.1, 1e4),
    st.randoms(use_true_random=False),
)
def test_delays_stay_within_their_bounds(
    attempts: int, first: float, longest: float, randomness: Random
) -> None:
    delays = retry_delays(attempts, first, longest, randomness.random)
    assert len(delays) == attempts - 1
    assert all(min(first, longest) / 2 <= delay <= longest for delay in delays)


def test_each_delay_has_its_own_jitter() -> None:
    values = iter([0.0, 0.9, 0.3])
    assert retry_delays(4, 10, 10, lambda: next(values)) == pytest.approx((10, 5.5, 8.5))
