"""Power cuts at many moments of a real run: mail acknowledged before is there.

`make crash` does the same at length.  Without the syncs the same run loses mail, and the test
detects it.
"""

from pathlib import Path

import pytest

from tests.crash.campaign import WITHOUT, lines, power, power_after_failures
from tests.crash.kills import Row
from tests.support.faults import missing

pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=missing()),
    pytest.mark.timeout(300),  # many processes, beside other tests
]


def assert_nothing_lost(rows: list[Row]) -> None:
    assert [line for line in lines(rows) if line.startswith("PROBLEM")] == []
    for row in rows:
        assert row.verdict.lost == row.verdict.doubled == 0
        assert row.verdict.found == row.verdict.acknowledged > 0


def test_what_was_acknowledged_survives_a_power_cut(tmp_path: Path) -> None:
    # docs/durability.md: bodies and their names first, then the rows, then the 250.
    rows = list(power(tmp_path / "power", "short", acknowledgements=200, moments=8))
    honest, without = rows[:3], rows[3:]
    assert [row.kills for row in honest] == [8] * 3
    assert_nothing_lost(honest)
    assert len(without) == len(WITHOUT)
    assert [problem for row in without for problem in row.verdict.problems] == []


def test_what_a_failed_sync_lost_is_not_missed_after_a_power_cut(tmp_path: Path) -> None:
    # The next sync reports success; a program that trusts it would acknowledge lost mail.
    assert_nothing_lost(
        list(power_after_failures(tmp_path / "power", "short", acknowledgements=200, moments=6))
    )
