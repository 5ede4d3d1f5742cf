"""Imports stand at the top of a module, so that a reader sees at once what it needs.

An import inside a function is for start-up time alone, and says so.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ("operator", "relay", "mailstore", "whitelist", "foundation")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
IMPORTS = (ast.Import, ast.ImportFrom)
INDENTED = re.compile(r"^\s+(import|from) ", re.MULTILINE)
REASON = re.compile(r"  # noqa: PLC0415 - start-up time($|[:;] )")


def inner_imports(text: str) -> Iterator[str]:
    """The first line of each import inside a function."""
    if not INDENTED.search(text):  # parsing takes longer
        return iter(())
    lines = text.splitlines()
    found = {
        node.lineno
        for function in ast.walk(ast.parse(text))
        if isinstance(function, FUNCTIONS)
        for node in ast.walk(function)
        if isinstance(node, IMPORTS)
    }
    return (lines[number - 1] for number in sorted(found))


@pytest.mark.integration
def test_an_import_inside_a_function_is_for_start_up_time() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for line in inner_imports(path.read_text(encoding="utf-8"))
    ]
    assert len(found) > 5, "hardly any import is found: does this test still look?"
    assert [line for line in found if not REASON.search(line)] == []


def test_such_an_import_is_found() -> None:
    text = "import a\nclass B:\n    def c(self):\n        if d:\n            from e import f\n"
    assert list(inner_imports(text)) == ["            from e import f"]
    assert not REASON.search("from e import f  # noqa: PLC0415")
    assert REASON.search("from e import f  # noqa: PLC0415 - start-up time; g is optional")
