"""A jump of the clock is detected, and mail does not age by it."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from foundation.clock_watch import DOUBT, JUMP, ClockWatch, since_boot
from tests.support.clock import NOW

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
SIXTY = timedelta(days=60)


class Clocks:
    """Two clocks turned by hand: wall clock, and clock since boot."""

    def __init__(self) -> None:
        self.now, self.running = NOW, 1000.0
        self.asleep = 0.0  # seconds that pass at each reading of the running clock
        self.watch = ClockWatch(lambda: self.now, self.run)

    def run(self) -> float:
        self.running += self.asleep
        return self.running

    def go(self, time: timedelta) -> None:
        self.now += time
        self.running += time.total_seconds()


def test_a_clock_that_runs_evenly_is_no_news() -> None:
    clocks = Clocks()
    for _ in range(100):
        clocks.go(DAY)
        clocks.now += JUMP - SECOND  # slewed, or corrected a little
        assert clocks.watch.new_jumps() == []
    assert not clocks.watch.in_doubt
    assert clocks.watch.steady() == clocks.now


def test_each_jump_is_told_once_and_stands_for_a_day() -> None:
    clocks = Clocks()
    clocks.go(SECOND)
    clocks.now += SIXTY
    (jump,) = clocks.watch.new_jumps()
    assert (jump.by, jump.to) == (SIXTY, clocks.now)
    assert str(jump) == (
        "this machine's clock jumped ahead by 60 days, 0:00:00, "
        "from 2026-11-22 10:11:13 UTC to 2027-01-21 10:11:13 UTC"
    )
    clocks.go(SECOND)
    clocks.now -= SIXTY
    (back,) = clocks.watch.new_jumps()
    assert back.by == -SIXTY
    assert "jumped back by 60 days, 0:00:00, from 2027-01-21" in str(back)
    assert clocks.watch.new_jumps() == []
    assert list(clocks.watch.jumps) == [jump, back]
    clocks.go(DOUBT - 2 * SECOND)
    doubts = [clocks.watch.in_doubt]
    clocks.go(2 * SECOND)
    doubts.append(clocks.watch.in_doubt)
    assert doubts == [True, False]
    assert not list(clocks.watch.jumps)


def test_what_is_asked_first_sees_the_jump() -> None:
    clocks = Clocks()
    clocks.now += SIXTY
    assert clocks.watch.steady() == NOW
    assert clocks.watch.in_doubt
    assert [jump.by for jump in clocks.watch.new_jumps()] == [SIXTY]


def test_mail_grows_old_by_the_steady_clock() -> None:
    clocks = Clocks()
    clocks.now += SIXTY
    clocks.go(DAY / 2)
    assert clocks.watch.steady() == NOW + DAY / 2
    clocks.now -= SIXTY  # set back: trusted, but cancels nothing of the jump ahead
    assert clocks.watch.steady() == NOW + DAY / 2 - SIXTY
    clocks.go(DAY)  # after a day the clock counts as right
    assert clocks.watch.steady() == clocks.now


def test_a_thread_that_was_kept_waiting_between_two_looks_is_no_jump() -> None:
    clocks = Clocks()
    clocks.asleep = 60.0
    for _ in range(5):
        assert clocks.watch.new_jumps() == []
    clocks.asleep = 0.0
    clocks.now = NOW + timedelta(seconds=clocks.running - 1000.0)
    assert clocks.watch.new_jumps() == []


def test_mail_written_by_a_clock_that_was_behind_is_not_over_once_it_is_right() -> None:
    clocks = Clocks()
    clocks.now -= SIXTY
    born = clocks.watch.check()
    clocks.go(SECOND)
    clocks.now += SIXTY
    assert clocks.watch.steady() == born + SECOND


def test_a_clock_is_proven_by_a_day_without_a_jump() -> None:
    clocks = Clocks()
    clocks.go(DOUBT - SECOND)
    proven = [clocks.watch.proven]
    clocks.go(SECOND)
    proven.append(clocks.watch.proven)
    clocks.now -= SIXTY
    proven.append(clocks.watch.proven)
    clocks.go(DOUBT)
    proven.append(clocks.watch.proven)
    assert proven == [False, True, False, True]


def test_a_watch_goes_on_where_another_was() -> None:
    clocks = Clocks()
    clocks.go(SECOND)
    clocks.now += SIXTY
    (jump,) = clocks.watch.new_jumps()
    clocks.go(timedelta(hours=1))
    other = ClockWatch(lambda: clocks.now, clocks.run, clocks.watch.memory)
    assert other.new_jumps() == []  # reported already
    assert (other.in_doubt, other.jumps) == (True, (jump,))
    assert other.steady() == clocks.watch.steady()
    memory = other.memory
    clocks.now -= SIXTY  # while no process looks
    third = ClockWatch(lambda: clocks.now, clocks.run, memory)
    assert [one.by for one in third.new_jumps()] == [-SIXTY]
    clocks.go(DOUBT)
    assert third.proven


@given(st.lists(st.timedeltas(timedelta(hours=-900), timedelta(hours=900)), max_size=8))
def test_steady_leads_neither_the_clock_nor_the_time_that_went_by(jumps: list[timedelta]) -> None:
    clocks = Clocks()
    for number, jump in enumerate(jumps, 1):
        clocks.go(SECOND)
        clocks.now += jump
        unseen = number * JUMP  # smaller steps: no jumps
        assert clocks.watch.steady() <= min(clocks.now, NOW + number * SECOND + unseen)


def test_the_clock_since_boot_runs() -> None:
    assert since_boot() <= since_boot()
