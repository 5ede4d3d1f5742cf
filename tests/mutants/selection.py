"""A plugin of pytest that leaves only the chosen tests: `-p tests.mutants.selection`.

The environment variable MUTANT_TESTS has their names, with blanks between them; a name that ends in
the middle of a parameter stands for all that begin so.  Storage tests run on SQLite alone.
"""

import os

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = os.environ["MUTANT_TESTS"].split()
    kept = [item for item in items if is_chosen(item.name, chosen)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def is_chosen(name: str, chosen: list[str]) -> bool:
    """Whether a test of this name, parameters included, is to run."""
    if "postgresql" in name:
        return False
    function = name.partition("[")[0]
    return any(name.startswith(one) if "[" in one else function == one for one in chosen)
