"""Tests of a layer do without the layers above it, so that these can change without them.

The test authorities and lists (`mssante_operator.setup.testbed`), the migrations that make a
schema, and the writing of an identity are at the top, and tests of every layer need them.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.support.rules.tiers import TIERS

TESTS = Path(__file__).parents[2]
TOP = "mssante_operator"
FOR_ALL = (
    "mssante_operator.setup.install",
    "mssante_operator.assembly.database.migrations",
    "mssante_operator.setup.testbed",
)
# What goes through two layers says so here.
BESIDES = {
    "unit/mailstore/db_checks/test_fitness.py": {
        "mssante_operator.assembly.database.database_check",
        "mssante_operator.assembly.database.schema_revision",
    },
    "unit/relay/connection/test_strangers.py": {"mssante_operator.jobs.strangers_summary"},
    "unit/relay/queue/test_unreadable_body.py": {
        "mssante_operator.jobs.queue_measurement",
        "mssante_operator.jobs.body_restoring",
    },
}


def is_package(name: str) -> bool:
    """Whether a name is that of a package of the operator, which names modules."""
    top, *rest = name.split(".")
    return top == TOP and Path(TESTS.parent, "operator", *rest).is_dir()


@cache
def imported(path: Path) -> frozenset[str]:
    """The full names of all that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            if is_package(node.module):
                found.update(f"{node.module}.{one.name}" for one in node.names)
            else:
                found.add(node.module)
    return frozenset(found)


def is_for_all(name: str) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in FOR_ALL)


def modules_of(layer: str) -> list[Path]:
    """The tests of a layer, and the support modules that they import, directly or not."""
    found = sorted(path for tier in TIERS for path in (TESTS / tier / layer).rglob("*.py"))
    seen = set(found)
    for path in found:
        for name in imported(path):
            other = TESTS.parent / Path(*name.split(".")).with_suffix(".py")
            if name.startswith("tests.") and other.exists() and other not in seen:
                seen.add(other)
                found.append(other)
    return found


@pytest.mark.integration
@pytest.mark.parametrize("layer", ["mailstore", "whitelist", "relay"])
def test_tests_of_lower_layers_do_without_the_top_one(layer: str) -> None:
    paths = modules_of(layer)
    assert len(paths) > 20, "hardly any tests are found: have they moved?"
    above = {
        f"{name}: {path.relative_to(TESTS)}"
        for path in paths
        for name in imported(path)
        if name.partition(".")[0] == TOP and not is_for_all(name)
        if name not in BESIDES.get(str(path.relative_to(TESTS)), set())
    }
    assert above == set()


def test_every_exception_is_needed() -> None:
    for file, names in BESIDES.items():
        assert names <= imported(TESTS / file), file
