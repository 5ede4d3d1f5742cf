"""The timeout for a peer that sends slowly, without a clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.connection.limits import Pace, SessionCounts, SessionLimits
from relay.smtp.errors import Disconnected

LIMITS = SessionLimits(data_idle_seconds=180, min_rate=1000, rate_grace_seconds=60)


def test_at_first_a_peer_may_take_the_grace() -> None:
    assert Pace(LIMITS).timeout == 60


def test_octets_earn_time_up_to_the_silence_allowed() -> None:
    pace = Pace(LIMITS)
    pace.received(30_000)
    assert pace.timeout == 90
    pace.received(10_000_000)
    assert pace.timeout == 180


def test_only_waiting_uses_it_up() -> None:
    pace = Pace(LIMITS)
    pace.waited(59)
    assert pace.timeout == 1
    pace.received(1000)
    assert pace.timeout == 2
    pace.waited(2)
    assert pace.timeout <= 0


def test_without_a_rate_only_silence_counts() -> None:
    pace = Pace(SessionLimits(min_rate=0, data_idle_seconds=7))
    pace.waited(1_000_000)
    assert pace.timeout == 7


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 10**6)), max_size=50))
def test_a_peer_at_the_rate_is_never_cut(steps: list[tuple[float, int]]) -> None:
    # However the peer spreads its octets, if each wait is shorter than the timeout at that moment.
    pace, waited, octets = Pace(LIMITS), 0.0, 0
    for seconds, count in steps:
        if seconds >= pace.timeout:
            assert waited + seconds >= 60 + octets / 1000 or seconds >= 180
            return
        pace.waited(seconds)
        pace.received(count)
        waited, octets = waited + seconds, octets + count
    assert waited < 60 + octets / 1000 + 1e-6


def test_errors_and_commands_are_counted_since_the_last_message() -> None:
    tally = SessionCounts(SessionLimits(max_errors=2, max_commands=3))
    tally.commands, tally.errors = 3, 1
    tally.check()
    assert tally.left == 0
    tally.commands += 1
    with pytest.raises(Disconnected, match="Too many commands"):
        tally.check()
    tally.accepted()
    tally.check()
    assert (tally.messages, tally.left) == (1, 3)
    tally.errors = 2
    with pytest.raises(Disconnected, match="Too many errors"):
        tally.check()
