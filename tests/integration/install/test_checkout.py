"""Rules of the checkout: no folder shadows a library, modules stay small, no index is named."""

import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tools.past_version import VERSION

ROOT = Path(__file__).parents[3]
# A checkout unpacked from an archive has no git listing.
needs_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")


def run(*words: str | Path) -> tuple[int, str]:
    """Run a command in the root of the checkout, without environment variables of Python."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "PYTHON"))}
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110, check=False
    )
    return done.returncode, done.stdout + done.stderr


@cache
def tracked() -> tuple[Path, ...]:
    """All files that git tracks or would add."""
    code, listed = run("git", "ls-files", "-co", "--exclude-standard", "-z")
    assert code == 0, listed
    return tuple(path for name in listed.split("\0") if name and (path := ROOT / name).exists())


# docs/decisions/0001: with an __init__.py, operator/ and alembic/ would shadow the standard
# library's module and the library of the same names, for any program started in the checkout.


@pytest.mark.parametrize("folder", ["operator", "alembic"])
def test_folders_that_would_shadow_a_module_are_no_packages(folder: str) -> None:
    assert (ROOT / folder).is_dir()
    assert not (ROOT / folder / "__init__.py").exists()


def test_python_in_the_checkout_finds_the_real_modules() -> None:
    code = "import collections, operator; from alembic import context; print(operator.__file__)"
    status, said = run(sys.executable, "-c", code)
    assert status == 0, said
    assert not Path(said.strip()).is_relative_to(ROOT / "operator")


def test_pytest_starts_in_the_checkout_as_a_module() -> None:
    status, said = run(sys.executable, "-m", "pytest", "--version")
    assert status == 0, said


def test_pytest_starts_in_the_checkout_as_a_command() -> None:
    command = Path(sys.executable).parent / "pytest"
    status, said = run(command, "--collect-only", "-q", "tests/unit/foundation/test_ids.py")
    assert status == 0, said
    assert "tests/unit/foundation/test_ids.py::" in said


@needs_git
def test_no_module_outgrows_400_lines() -> None:
    # A module has one idea and is short enough to read at once.
    modules = [path for path in tracked() if path.suffix == ".py"]
    assert modules
    lengths = {str(path.relative_to(ROOT)): path.read_bytes().count(b"\n") for path in modules}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


@needs_git
def test_requirements_name_no_index_and_no_place() -> None:
    # The package index is chosen by the machine that installs.
    requirements = [path for path in tracked() if re.fullmatch(r"requirements.*\.txt", path.name)]
    assert {path.name for path in requirements} >= {"requirements.txt", "requirements-dev.txt"}
    place = re.compile(
        r"--(?:extra-)?index-url|--find-links|--trusted-host|https?:|file:/|@ |(?:^|[\s=])/"
    )
    for path in requirements:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert not place.search(line), f"{path.name}:{number}: {line}"


@needs_git
def test_no_file_names_the_index_of_the_machine_it_was_written_on() -> None:
    option = re.compile(rb"--(?:extra-)?index-url[= ]\S|--find-links[= ]\S|--trusted-host[= ]\S")
    guilty = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if path != Path(__file__) and option.search(path.read_bytes())
    ]
    assert guilty == []


def test_the_version_is_that_of_the_changes() -> None:
    # pip does not reinstall a wheel with the version that is installed already.
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heads = re.findall(r"^## (\S+)(?: \(.*\))?$", changes, re.MULTILINE)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "version"
    ]
    assert heads[0] == "Unreleased"
    assert heads[-1] == VERSION
    assert version.partition(".dev")[0] not in heads
    assert ".dev" in version
