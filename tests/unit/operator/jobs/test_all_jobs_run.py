"""Every job of operator/jobs is started by a role of the daemon; a job that nobody starts does
nothing, and no test of the job itself can tell.
"""

import ast
from pathlib import Path

import pytest

OPERATOR = Path(__file__).parents[4] / "operator"


def jobs() -> list[str]:
    """Names of classes with an endless `run`."""
    return [
        node.name
        for path in sorted((OPERATOR / "jobs").rglob("*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
        and any(isinstance(one, ast.AsyncFunctionDef) and one.name == "run" for one in node.body)
    ]


def test_there_are_jobs() -> None:
    assert len(jobs()) > 8


@pytest.mark.parametrize("job", jobs())
def test_a_role_starts_it(job: str) -> None:
    folders = (OPERATOR / "roles", OPERATOR / "assembly")
    sources = [path for folder in folders for path in folder.rglob("*.py")]
    assert any(f"{job}(" in path.read_text(encoding="utf-8") for path in sources)
