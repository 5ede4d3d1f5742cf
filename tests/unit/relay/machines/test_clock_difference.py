"""This machine's clock against the database's: results that a comparison proves or leaves open."""

from datetime import datetime, timedelta

import pytest

from mailstore.db.database import Database
from relay.machines import clock_difference
from relay.machines.clock_difference import ClockComparison
from tests.support.clock import NOW

SECOND = timedelta(seconds=1)
MAX_DIFFERENCE = 5 * SECOND
SERVER = pytest.mark.parametrize("dialect", ["postgresql"])  # SQLite has no clock of its own


class Clocks:
    """The database's clock is NOW; ours is `ahead` of it; a query takes `took` seconds."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead, self.took, self.ran = 0.0, 0.0, 0.0
        self.comparison = ClockComparison(database, MAX_DIFFERENCE, self.wall, self.running)

        def server(_connection: object) -> datetime:
            self.ran += self.took
            return NOW

        monkeypatch.setattr(clock_difference, "server_clock", server)

    def wall(self) -> datetime:
        return NOW + self.ahead * SECOND

    def running(self) -> float:
        return self.ran

    def compare(self, ahead: float, took: float = 0.0) -> bool | None:
        """Compare; the database's clock is read at the beginning of the query."""
        self.ahead, self.took = ahead, took
        self.comparison.compare()
        return self.comparison.apart


@pytest.fixture
def clocks(database: Database, monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(database, monkeypatch)


def test_nothing_is_apart_from_sqlite_and_nothing_known_of_a_server_yet(database: Database) -> None:
    comparison = ClockComparison(database, MAX_DIFFERENCE, lambda: NOW + timedelta(days=60))
    sqlite = database.url.get_backend_name() == "sqlite"
    assert comparison.apart is (False if sqlite else None)
    assert comparison.compare() is not sqlite
    assert (comparison.last is None) == sqlite
    assert (comparison.problem == "") == sqlite


@SERVER
@pytest.mark.parametrize(
    ("ahead", "apart"), [(0.0, False), (5.0, False), (-5.0, False), (5.1, True), (-5.1, True)]
)
def test_apart_beyond_the_most(clocks: Clocks, *, ahead: float, apart: bool) -> None:
    assert clocks.compare(ahead) is apart
    assert clocks.comparison.last is not None
    assert clocks.comparison.last.by == timedelta(seconds=ahead)
    way = "ahead of" if ahead > 0 else "behind"
    assert clocks.comparison.problem.startswith(f"this machine's clock is {way} the ") == apart


@SERVER
def test_half_of_the_answer_s_time_is_doubt(clocks: Clocks) -> None:
    # 3 seconds to answer, read at some moment of them: 4.6 ahead may be 6.1 at the most.
    assert clocks.compare(6.4, took=0.0) is True
    assert clocks.compare(4.6, took=3.0) is True  # undecided: no change
    assert clocks.compare(1.9, took=3.0) is False  # 3.4 plus or minus 1.5
    assert clocks.compare(4.6, took=3.0) is False  # undecided: no change
    assert clocks.compare(5.1, took=3.0) is True  # 6.6 plus or minus 1.5


@SERVER
def test_an_answer_that_took_too_long_says_nothing(clocks: Clocks) -> None:
    assert clocks.compare(-10.0, took=20.0) is None
    assert clocks.compare(-1.5, took=3.0) is False
    assert clocks.compare(-20.0, took=40.0) is False


@SERVER
def test_a_clock_set_right_is_believed_again(clocks: Clocks) -> None:
    assert [clocks.compare(ahead) for ahead in (0, 1800, 1800, -1800, 1)] == [
        False,
        True,
        True,
        True,
        False,
    ]


@SERVER
def test_the_words_stay_the_same_while_the_clock_drifts(clocks: Clocks) -> None:
    # An alarm is logged again when its text changes.
    clocks.compare(8.1)
    first = clocks.comparison.problem
    clocks.compare(8.4)
    assert clocks.comparison.problem == first
