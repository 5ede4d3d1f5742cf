"""Fresh, stale, expired, none: at the exact thresholds (DOMAIN §2.6, §9.12, §9.13)."""

from datetime import timedelta

import pytest

from tests.support.clock import NOW
from whitelist.national.freshness import SLACK, Freshness, is_ahead, judge_freshness, last_certain

DAY, WEEK, TICK = timedelta(days=1), timedelta(days=7), timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (timedelta(), Freshness.FRESH),
        (DAY - TICK, Freshness.FRESH),
        (DAY, Freshness.STALE),
        (DAY + TICK, Freshness.STALE),
        (WEEK - TICK, Freshness.STALE),
        (WEEK, Freshness.EXPIRED),
        (WEEK + TICK, Freshness.EXPIRED),
        (timedelta(days=20_000), Freshness.EXPIRED),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_thresholds(age: timedelta, expected: Freshness, sign: int) -> None:
    # A check in the future is as doubtful as a check equally far in the past.
    assert judge_freshness(NOW - sign * age, NOW, DAY, WEEK) is expected


def test_without_any_check() -> None:
    assert judge_freshness(None, NOW, DAY, WEEK) is Freshness.NONE


def test_a_check_from_the_future_is_not_believed() -> None:
    # Then the list was certainly current only when it was made.
    made, ahead = NOW - 3 * DAY, NOW + SLACK + TICK
    assert is_ahead(ahead, NOW)
    assert last_certain(ahead, made, NOW) == made
    assert last_certain(ahead, None, NOW) is None
    assert judge_freshness(last_certain(ahead, made, NOW), NOW, DAY, WEEK) is Freshness.STALE
    for believed in (NOW + SLACK, NOW, NOW - WEEK, None):
        assert not is_ahead(believed, NOW)
        assert last_certain(believed, made, NOW) == believed


def test_one_threshold_for_both_means_expired() -> None:
    assert judge_freshness(NOW - DAY, NOW, DAY, DAY) is Freshness.EXPIRED
    assert judge_freshness(NOW - DAY, NOW, WEEK, DAY) is Freshness.EXPIRED


def test_the_words_that_metrics_and_readyz_use() -> None:
    assert list(Freshness) == ["fresh", "stale", "expired", "none"]
