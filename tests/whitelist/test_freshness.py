"""Fresh, stale, expired, none: at the exact thresholds (DOMAIN §2.6, §9.12, §9.13)."""

from datetime import timedelta

import pytest

from tests.support.clock import NOW
from whitelist.freshness import Freshness, judge

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
    # A check from the future is as doubtful as one as far in the past.
    assert judge(NOW - sign * age, NOW, DAY, WEEK) is expected


def test_without_any_check() -> None:
    assert judge(None, NOW, DAY, WEEK) is Freshness.NONE


def test_one_threshold_for_both_means_expired() -> None:
    assert judge(NOW - DAY, NOW, DAY, DAY) is Freshness.EXPIRED
    assert judge(NOW - DAY, NOW, WEEK, DAY) is Freshness.EXPIRED


def test_the_words_that_metrics_and_readyz_use() -> None:
    assert list(Freshness) == ["fresh", "stale", "expired", "none"]
