"""In CI a skip for want of a package that set-up could have installed counts as a failure."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.rules import needs

ROOT = Path(__file__).parents[3]
TEST = """
import pytest
from tests.support.rules import needs

needs._offered = {"a-package"}.__contains__
needs.os.geteuid = lambda: 0

@pytest.mark.skipif(True, reason=needs.program("a program", "a-package"))
def test_offered(): ...

@pytest.mark.skipif(True, reason=needs.program("a program", "no-such-package"))
def test_not_offered(): ...

def test_for_another_reason():
    pytest.skip("it has one writer at a time")
"""


@pytest.mark.parametrize(
    ("ci", "counts"), [(True, "2 skipped, 1 error"), (False, "3 skipped")], ids=["CI", "here"]
)
def test_what_could_have_been_installed_fails_in_ci(
    tmp_path: Path, *, ci: bool, counts: str
) -> None:
    (tmp_path / "test_it.py").write_text(TEST)
    others = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        (sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-q"),
        cwd=tmp_path,
        env=others | {"PYTHONPATH": str(ROOT)} | ({"CI": "true"} if ci else {}),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert counts in done.stdout, done.stdout + done.stderr
    assert ("set-up could have installed a-package" in done.stdout) == ci


@pytest.mark.skipif(shutil.which("apt-cache") is None, reason="no apt here")
def test_apt_is_asked_which_packages_there_are() -> None:
    assert not needs._offered("no-such-package-at-all")
