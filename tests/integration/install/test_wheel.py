"""Wheel installed alone: in an empty environment, outside the checkout, `mssante` works.

Only the locked requirements are installed with it.
"""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# pip's words when an index is unreachable; other failures of pip are our fault.
_NO_INDEX = re.compile(r"after connection broken by|There was a problem confirming the ssl certif")


def run(*words: str | Path, cwd: Path, code: int = 0) -> str:
    """Run a command without environment variables of Python; returns its output."""
    done = _run(*words, cwd=cwd)
    said = done.stdout + done.stderr
    assert done.returncode == code, f"{words}: {done.returncode}\n{said}"
    return said


def _run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def copy_sources(to: Path) -> None:
    """Copy files that git tracks or would add, so that no other file gets into the wheel."""
    listed = run("git", "ls-files", "-co", "--exclude-standard", "-z", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, to / name)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: no telling which files are the project's")
    folder = tmp_path_factory.mktemp("wheel")
    copy_sources(folder / "source")
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "../dist")
    run(*build, cwd=folder / "source")
    (built,) = (folder / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder `bin` of an environment with the wheel."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", "venv", cwd=folder)
    pip = (sys.executable, "-m", "pip", "--python", folder / "venv" / "bin" / "python", "install")
    locked = ("--require-hashes", "--requirement", ROOT / "requirements.txt")
    done = _run(*pip, "--no-compile", "--retries", "1", *locked, cwd=folder)
    if done.returncode and _NO_INDEX.search(done.stderr):
        pytest.skip(f"pip cannot reach its package index: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stdout + done.stderr
    run(*pip, "--no-compile", "--no-deps", "--no-index", wheel, cwd=folder)
    return folder / "venv" / "bin"


def test_it_holds_migrations_and_templates_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
    ours = {name for name in names if ".dist-info/" not in name}
    assert {Path(name).parts[0] for name in ours} == {
        "foundation",
        "mailstore",
        "mssante_operator",
        "relay",
        "whitelist",
    }
    versions = [path.name for path in (ROOT / "alembic" / "versions").glob("*.py")]
    templates = [path.name for path in (ROOT / "config").iterdir() if path.is_file()]
    assert versions
    assert any(name.endswith(".toml") for name in templates)
    assert ours >= {
        "mssante_operator/migrations/env.py",
        "mssante_operator/migrations/script.py.mako",
        *(f"mssante_operator/migrations/versions/{name}" for name in versions),
        *(f"mssante_operator/config/{name}" for name in templates),
    }


def test_each_package_says_that_it_has_types(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
    packages = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert len(packages) > 3
    assert {one for one in packages if f"{one}/py.typed" not in names} == set()


def test_its_requirements_are_consistent_and_its_code_is_its_own(
    installed: Path, tmp_path: Path
) -> None:
    run(sys.executable, "-m", "pip", "--python", installed / "python", "check", cwd=tmp_path)
    code = "import mssante_operator.cli.main as main, relay; print(relay.__file__, main.__file__)"
    for path in run(installed / "python", "-c", code, cwd=tmp_path).split():
        assert Path(path).is_relative_to(installed.parent)


def test_an_operator_is_made_and_its_configuration_is_good(installed: Path, tmp_path: Path) -> None:
    mssante = installed / "mssante"
    said = run(mssante, "init", "operator", cwd=tmp_path)
    assert "serve" in said
    config = tmp_path / "operator" / "mssante.toml"
    run(mssante, "--config", config, "config", "check", cwd=tmp_path)
    run(mssante, "--config", config, "db", "current", cwd=tmp_path)


def test_the_demonstration_succeeds(installed: Path, tmp_path: Path) -> None:
    said = run(installed / "mssante", "demo", cwd=tmp_path)
    assert said.rstrip().endswith("every step ended as it must")
