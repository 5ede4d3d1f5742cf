"""No test depends on the day: a few run as if it were another (`make test-clock`: all of them)."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.moved_clock import moments
from tests.support.faults import missing

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("now", "begins"),
    [
        (
            datetime(2026, 11, 29, tzinfo=UTC),
            ["2028-02-28", "2028-02-29", "2027-03-28", "2027-10-31"],
        ),
        (
            datetime(2028, 2, 29, tzinfo=UTC),
            ["2032-02-28", "2032-02-29", "2029-03-25", "2029-10-28"],
        ),
    ],
    ids=lambda value: value.date().isoformat() if isinstance(value, datetime) else "",
)
def test_the_moments(now: datetime, begins: list[str]) -> None:
    soon, year, *others = moments(now)
    assert soon.begin == now + timedelta(days=60)
    assert year.begin == now + timedelta(days=365)
    assert [one.begin.date().isoformat() for one in others] == begins
    for one in others:  # a change comes while the tests run
        assert (one.begin + timedelta(seconds=40)).minute == 0


@pytest.mark.skipif(bool(missing()), reason=missing())
@pytest.mark.timeout(600)
def test_in_60_days() -> None:
    words = [sys.executable, "-m", "tests.moved_clock", "--short"]
    said = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    assert said.returncode == 0, said.stdout
    assert "passed at each moment" in said.stdout
