"""Time is passed in: one place asks this machine for it, and all the rest is given it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ("operator", "relay", "mailstore", "whitelist", "foundation")
ASKS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time"}
LAST = {name.rpartition(".")[2] for name in ASKS}


def asked(path: Path) -> Iterator[str]:
    """The names by which a file asks for the time of day."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in LAST:
            name = ".".join(ast.unparse(node).split(".")[-2:])
            if name in ASKS:
                yield name


@pytest.mark.integration
def test_one_place_asks_for_the_time_of_day() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for name in asked(path)
    ]
    assert len(found) == 1, found
    assert found[0].endswith(": datetime.now")
