"""Folders stay small, so that a reader finds a module by looking (docs/decisions/0070)."""

from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[3]
TREES = ("operator", "relay", "mailstore", "whitelist", "foundation", "tests", "tools")
LIMIT = 16  # modules of a folder, its __init__.py not counted: "about fifteen"


def modules() -> Counter[str]:
    """Folder to the number of its modules."""
    paths = (path for tree in TREES for path in (ROOT / tree).rglob("*.py"))
    return Counter(
        str(path.parent.relative_to(ROOT)) for path in paths if path.name != "__init__.py"
    )


def test_no_folder_has_too_many_modules() -> None:
    found = modules()
    assert found.total() > 400, "hardly any module is found: does this test still look?"
    assert {f: n for f, n in found.items() if n > LIMIT} == {}
