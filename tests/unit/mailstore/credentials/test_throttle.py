"""Waits after wrong log-ins."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.credentials.throttle import (
    ACCOUNT_FREE_FAILURES,
    ACCOUNT_LONGEST,
    FREE_FAILURES,
    LONGEST,
    ORIGIN_FAILURES,
    Throttle,
    account_wait,
    origin_key,
    wait_after,
)
from tests.support.clock import NOW

SECOND = timedelta(seconds=1)


def test_waits_double() -> None:
    waits = [wait_after(count, 2, timedelta(seconds=5)) for count in range(7)]
    assert [wait / SECOND for wait in waits] == [0, 0, 1, 2, 4, 5, 5]


@given(st.integers(0, 10**9))
def test_no_wait_is_longer_than_the_longest(failures: int) -> None:
    assert timedelta() <= wait_after(failures, FREE_FAILURES, LONGEST) <= LONGEST


def test_a_pair_waits_ever_longer_and_no_other() -> None:
    throttle, at = Throttle(), NOW
    for _ in range(FREE_FAILURES):
        assert not throttle.must_wait("claire", "192.0.2.1", at)
        throttle.failed("claire", "192.0.2.1", at)
    assert throttle.must_wait("claire", "192.0.2.1", at)
    assert not throttle.must_wait("claire", "192.0.2.2", at)
    assert not throttle.must_wait("paul", "192.0.2.1", at)
    assert not throttle.must_wait("claire", "192.0.2.1", at + SECOND)
    throttle.failed("claire", "192.0.2.1", at + SECOND)
    assert throttle.must_wait("claire", "192.0.2.1", at + 2 * SECOND)
    throttle.succeeded("claire", "192.0.2.1")
    assert not throttle.must_wait("claire", "192.0.2.1", at + 2 * SECOND)


def test_an_origin_waits_after_many_names() -> None:
    throttle = Throttle()
    for number in range(ORIGIN_FAILURES):
        assert not throttle.must_wait("claire", "192.0.2.1", NOW)
        throttle.failed(f"name{number}", "192.0.2.1", NOW)
    assert throttle.must_wait("claire", "192.0.2.1", NOW)
    assert not throttle.must_wait("claire", "192.0.2.2", NOW)
    assert not throttle.must_wait("claire", "192.0.2.1", NOW + timedelta(minutes=1))


def test_a_clock_that_was_ahead_makes_nobody_wait_until_then() -> None:
    throttle, ahead = Throttle(), NOW + timedelta(days=365)
    for number in range(ORIGIN_FAILURES):
        throttle.failed(f"name{number}", "192.0.2.1", ahead)
    assert not throttle.must_wait("claire", "192.0.2.1", NOW)


def test_a_network_of_ipv6_is_one_origin() -> None:
    # A subscriber changes its address within its network as often as it likes.
    throttle = Throttle()
    for number in range(ORIGIN_FAILURES):
        throttle.failed(f"name{number}", f"2001:db8::{number:x}:1", NOW)
    assert throttle.must_wait("claire", "2001:db8::ffff", NOW)
    assert not throttle.must_wait("claire", "2001:db8:0:1::1", NOW)


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("command", "command"),
    ],
)
def test_origins(address: str, origin: str) -> None:
    assert origin_key(address) == origin


def test_memory_is_bounded() -> None:
    throttle = Throttle(most=10)
    for number in range(100):
        throttle.failed(f"name{number}", f"192.0.2.{number}", NOW)
    assert throttle.size() == 20
    assert not throttle.must_wait("name1", "192.0.2.1", NOW)


def test_an_account_waits_wherever_the_failures_came_from() -> None:
    assert not account_wait(99, None, NOW)
    assert not account_wait(ACCOUNT_FREE_FAILURES - 1, NOW, NOW)
    assert account_wait(ACCOUNT_FREE_FAILURES, NOW, NOW)
    assert not account_wait(ACCOUNT_FREE_FAILURES, NOW, NOW + SECOND)
    assert account_wait(10**6, NOW, NOW + ACCOUNT_LONGEST - SECOND)
    assert not account_wait(10**6, NOW, NOW + ACCOUNT_LONGEST)
    # The failure was counted by a machine whose clock was a day ahead.
    assert not account_wait(10**6, NOW + timedelta(days=1), NOW)


@given(
    history=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.integers())),
    back=st.booleans(),
)
def test_every_wait_ends(history: list[tuple[str, str, int]], *, back: bool) -> None:
    throttle = Throttle(most=2)
    for login, origin, seconds in history:
        throttle.failed(login, origin, NOW + timedelta(seconds=seconds % 3_000))
    # The clock may jump back: no wait begins anew.
    later = NOW + (-LONGEST if back else timedelta(seconds=3_000) + LONGEST)
    for login in "abc":
        for origin in "xy":
            assert not throttle.must_wait(login, origin, later - timedelta(seconds=back))
