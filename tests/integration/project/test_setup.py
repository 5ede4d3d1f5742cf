"""Set-up on the machines that users have: which Python, what is lacking, and what is said then."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.rules import needs

ROOT = Path(__file__).parents[3]
TOOLS = ROOT / "tools"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PROMISED = ("3.11", "3.12", "3.13", "3.14")


def run(
    *words: str | Path, path: Path | None = None, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run a program, with nothing but `path` on PATH if it is given."""
    environment = {**os.environ, "PATH": str(path)} if path else dict(os.environ)
    return subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def pretend(path: Path, version: str) -> Path:
    """A Python that says that it is of another version."""
    numbers = tuple(map(int, version.split(".")))
    code = f"import sys; sys.version_info = {numbers!r}; exec(sys.argv.pop(1))"
    path.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "Python {version}" && exit\n'
        f'exec {sys.executable} -c "{code}" "$2"\n'
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("version", [f"{one}.0" for one in PROMISED])
def test_a_promised_python_is_taken(tmp_path: Path, version: str) -> None:
    done = run(TOOLS / "check-python.sh", pretend(tmp_path / "python", version))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("version", ["2.7.18", "3.10.13", "3.15.0", "3.20.1", "4.0.0"])
def test_any_other_is_refused_in_one_line(tmp_path: Path, version: str) -> None:
    python = pretend(tmp_path / "python", version)
    for words in (("check-python.sh", python), ("make-venv.sh", python, tmp_path / "venv")):
        done = run(TOOLS / words[0], *words[1:])
        assert done.returncode == 1
        assert done.stderr == (
            f"Python 3.11 to 3.14 is needed, and {python} is Python {version}: "
            "give another, make PYTHON=/usr/bin/python3.11 ...\n"
        )
    assert not (tmp_path / "venv").exists()


def test_no_python_at_all_is_said_too(tmp_path: Path) -> None:
    done = run(TOOLS / "check-python.sh", tmp_path / "none")
    assert done.returncode == 1
    assert f"{tmp_path / 'none'} is not a Python that runs" in done.stderr


def test_the_python_that_is_found_is_a_promised_one() -> None:
    found = run(TOOLS / "find-python.sh").stdout.strip()
    assert run(TOOLS / "check-python.sh", found).returncode == 0


def test_what_is_promised_stands_in_each_place() -> None:
    assert PROJECT["requires-python"] == ">=3.11,<3.15"
    finder = (TOOLS / "find-python.sh").read_text(encoding="utf-8")
    assert set(re.findall(r"python(3\.\d+)", finder)) == set(PROMISED)
    assert "Python 3.11 to 3.14" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_locked_requirements_hold_for_each_promised_python() -> None:
    # pip-compile runs on one Python and writes no marker: what is bound to some of them needs one.
    wanted = [one for extra in PROJECT["optional-dependencies"].values() for one in extra]
    bound = {
        re.split(r"[\[>=]", one)[0]: one.partition(";")[2].strip()
        for one in (*PROJECT["dependencies"], *wanted)
        if ";" in one
    }
    assert bound
    locked = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
    for name, marker in bound.items():
        assert re.search(rf"^{name}==\S+ ; {re.escape(marker)} ", locked, re.MULTILINE), name


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A PATH with a shell's tools and nothing that the tests need; nobody on it is root."""
    folder = tmp_path / "path"
    folder.mkdir()
    for name in ("sh", "cat", "dirname", "mkdir", "pwd", "rm", "sed", "touch", "true"):
        found = shutil.which(name)
        if found:
            (folder / name).symlink_to(found)
    for name, text in (("id", "echo 1000"), ("apt-get", "exit 100"), ("apt-cache", "exit 100")):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


def test_an_ordinary_user_is_told_what_root_would_install(bare: Path, tmp_path: Path) -> None:
    done = run(TOOLS / "install-peers.sh", tmp_path, path=bare)
    assert done.returncode == 3
    assert done.stderr.startswith("note: tests that need swaks libnet-ssleay-perl")
    assert "run as root: apt-get install swaks libnet-ssleay-perl" in done.stderr
    done = run(TOOLS / "unpack-debian.sh", tmp_path, "exim4-daemon-light", path=bare)
    assert done.returncode == 3
    assert f"run as root: {TOOLS}/unpack-debian.sh {tmp_path} exim4-daemon-light" in done.stderr


def test_root_without_package_lists_is_told_so_and_set_up_goes_on(
    bare: Path, tmp_path: Path
) -> None:
    (bare / "id").write_text("#!/bin/sh\necho 0\n")
    done = run(TOOLS / "install-peers.sh", tmp_path, path=bare)
    assert done.returncode == 3
    assert "will be skipped: apt has no package lists" in done.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason=needs.program("make", "make"))
@pytest.mark.parametrize(("status", "ends", "made"), [(0, 0, True), (3, 0, False), (1, 2, False)])
def test_set_up_is_not_done_while_something_is_lacking(
    tmp_path: Path, status: int, ends: int, *, made: bool
) -> None:
    for name in ("Makefile", "pyproject.toml", *(one.name for one in ROOT.glob("require*.txt"))):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "tools").mkdir()
    step = tmp_path / "tools" / "install-for-tests.sh"
    step.write_text(f"#!/bin/sh\nexit {status}\n")
    step.chmod(0o755)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("bin/python", "run.stamp", "packages.stamp"):
        (tmp_path / ".venv" / name).touch()
    done = run("make", "setup", "PYTHON=none", cwd=tmp_path)
    assert done.returncode == ends, done.stderr
    assert (tmp_path / ".venv" / "dev.stamp").exists() == made


def test_why_a_test_is_skipped_names_package_command_and_root(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert needs.program("swaks with TLS", "swaks libnet-ssleay-perl") == (
        "swaks with TLS is not here: it needs the package swaks libnet-ssleay-perl, "
        "as root: apt-get install swaks libnet-ssleay-perl"
    )
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert needs.root("a mount") == "it needs root: a mount; as root: make test"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert needs.root("a mount") == ""


def test_the_check_of_fresh_machines_says_what_it_needs(bare: Path) -> None:
    done = run(TOOLS / "install-check.sh", path=bare)
    assert (done.returncode, done.stdout) == (1, "")
    assert "it needs root" in done.stderr
    (bare / "id").write_text("#!/bin/sh\necho 0\n")
    done = run(TOOLS / "install-check.sh", path=bare)
    assert done.returncode == 1
    assert "as root: apt-get install debootstrap" in done.stderr
