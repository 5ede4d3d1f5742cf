"""The requirements of DOMAIN §9 that are claimed: each is cited by a test."""

import re
from functools import cache
from pathlib import Path

import pytest

from mssante_operator.monitoring.alarms import AlarmName

ROOT = Path(__file__).parents[3]
# The white list, the audit matrix, the certificates and their revocation; the relay; submission.
CLAIMED = [*range(1, 29), *range(32, 38), 40, 59, 60, 61, 62]


@cache
def cited() -> frozenset[int]:
    """Every requirement that a test file names, in any of the ways it is written."""
    found: set[int] = set()
    for path in (ROOT / "tests").rglob("*"):
        if path.suffix in {".py", ".txt"} and path.name != Path(__file__).name:
            text = path.read_text(encoding="utf-8")
            for start, end in re.findall(r"§9\.(\d+)(?:\s*[-–]\s*(\d+))?", text):
                found |= set(range(int(start), int(end or start) + 1))
    return frozenset(found)


@pytest.mark.parametrize("number", CLAIMED)
def test_a_test_names_it(number: int) -> None:
    assert number in cited(), f"no test cites DOMAIN §9.{number}"


def test_every_alarm_is_explained() -> None:
    page = (ROOT / "docs" / "whitelist.md").read_text(encoding="utf-8")
    assert [name.value for name in AlarmName if f"| `{name.value}` |" not in page] == []
