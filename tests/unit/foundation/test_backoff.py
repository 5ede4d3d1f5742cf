"""Backoff after failures in a row."""

from hypothesis import given
from hypothesis import strategies as st

from foundation.backoff import backoff


def test_pauses_double_up_to_the_longest() -> None:
    assert [backoff(n, 30, 1800) for n in range(1, 9)] == [
        30,
        60,
        120,
        240,
        480,
        960,
        1800,
        1800,
    ]


@given(st.integers(1, 10**6), st.floats(0.1, 100), st.floats(0.1, 1e5))
def test_pauses_stay_within_their_bounds(failures: int, first: float, longest: float) -> None:
    assert min(first, longest) <= backoff(failures, first, longest) <= longest
