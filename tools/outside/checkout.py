"""Inventory of the checkout: identifiers of tests, dialogues, pages, and the wheel's contents."""

import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final

from tools.generate import pages

_CELL: Final = re.compile(r"`([^`]+)`")


class CheckoutError(Exception):
    """A program that failed on the checkout; the message is its output."""


def _run(*words: str, folder: Path) -> str:
    # Only our own words: a program's name and options.
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise CheckoutError(
            f"{' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return done.stdout


def tests(root: Path) -> frozenset[str]:
    """Identifiers of tests: file name without folder, test, parameters."""
    told = _run(sys.executable, "-m", "pytest", "--collect-only", "-q", folder=root)
    found = [line for line in told.splitlines() if "::" in line]
    return frozenset(
        f"{PurePosixPath(path).name}::{test}"
        for path, _, test in (i.partition("::") for i in found)
    )


def dialogues(root: Path) -> frozenset[str]:
    """Dialogue files of the tests, by name and content."""
    found = [path for path in (root / "tests").rglob("*.txt") if path.parent.name == "dialogues"]
    return frozenset(f"{path.name} sha256:{_digest(path.read_bytes())}" for path in found)


def migrations(root: Path) -> frozenset[str]:
    """Migrations by name and content: a migration that ran anywhere must not change."""
    found = (root / "alembic" / "versions").glob("*.py")
    return frozenset(f"{path.name} sha256:{_digest(path.read_bytes())}" for path in found)


def alerts(root: Path) -> frozenset[str]:
    """Lines of the alert rules for Prometheus, with their alert."""
    found, alert = set(), ""
    for line in (root / "config" / "mssante.rules.yml").read_text(encoding="utf-8").splitlines():
        if match := re.search(r"- alert: (\w+)", line):
            alert = match[1]
        if alert and line.strip():
            found.add(f"{alert} | {line.strip()}")
    return frozenset(found)


def page_rows(root: Path, page: str) -> frozenset[str]:
    """Names in code style in a page's tables: first cells, alone and with each name in the row."""
    found = set()
    for line in (root / "docs" / page).read_text(encoding="utf-8").splitlines():
        if not line.startswith("| `"):
            continue
        first, *others = line.strip("|").split(" | ")
        for name in _CELL.findall(first):
            found |= {name, *(f"{name} {other}" for other in _CELL.findall(" ".join(others)))}
    return frozenset(found)


def generated(root: Path) -> frozenset[str]:
    """Lines of the generated files."""
    return frozenset(
        f"{path.relative_to(root)} | {line.strip()}"
        for path, text in pages().items()
        for line in text.splitlines()
        if line.strip()
    )


def make_targets(root: Path) -> frozenset[str]:
    """Targets of the Makefile with a help text."""
    text = (root / "Makefile").read_text(encoding="utf-8")
    return frozenset(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))


@cache
def wheel(root: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Modules of the wheel; other contents with entry points and requirements.

    The wheel is built from the files known to git, outside the checkout.
    """
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for name in _run("git", "ls-files", "-co", "--exclude-standard", folder=root).splitlines():
            if (root / name).is_file():
                (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / "source" / name).write_bytes((root / name).read_bytes())
        build = ("-m", "build", "--wheel", "--no-isolation", "--outdir", "../dist")
        _run(sys.executable, *build, folder=folder / "source")
        (path,) = (folder / "dist").iterdir()
        with zipfile.ZipFile(path) as opened:
            named = {_unversioned(name) for name in opened.namelist()}
            stated = {
                f"{_unversioned(name)} | {line}"
                for name in opened.namelist()
                if name.endswith((".dist-info/entry_points.txt", ".dist-info/METADATA"))
                for line in opened.read(name).decode().splitlines()
                if name.endswith(".txt") or line.startswith(("Requires-", "Provides-", "Name:"))
            }
    modules = frozenset(name for name in named if name.endswith(".py"))
    return modules, frozenset(named - modules | stated)


def _unversioned(name: str) -> str:
    return re.sub(r"^([a-z]+)-[^/]+\.dist-info/", r"\1.dist-info/", name)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
