"""A mutant, and how its place in the sources and its tests are found."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PACKAGES: Final = ("foundation", "operator", "relay", "mailstore", "whitelist", "directory")

_TEST: Final = re.compile(r"^ *(?:async )?def (test_\w+)\(", re.MULTILINE)


class MutantError(Exception):
    """A mutant that says nothing: its text or its tests are not there, or not once."""


@dataclass(frozen=True)
class Mutant:
    """One guard taken out.

    `old` is a text that stands once in all modules of the packages, `new` what takes its place.
    `tests` are names of test functions, `test_dialogue[order-` for those of one parameter; one of
    them must fail.
    """

    guard: str
    old: str
    new: str
    tests: tuple[str, ...]


def read_modules(root: Path) -> Mapping[Path, str]:
    """The sources of all modules of the packages by their paths.  Raises MutantError for none."""
    found = {
        path: path.read_text(encoding="utf-8")
        for name in PACKAGES
        for path in sorted((root / name).rglob("*.py"))
    }
    if not found:
        raise MutantError(f"no modules of {', '.join(PACKAGES)} in {root}")
    return found


def place_of(mutant: Mutant, modules: Mapping[Path, str]) -> Path:
    """The one module with the mutant's text.  Raises MutantError."""
    places = [path for path, text in modules.items() for _ in range(text.count(mutant.old))]
    if len(places) != 1:
        where = ", ".join(map(str, places)) or "nowhere"
        raise MutantError(
            f"{mutant.guard}: its text is to stand once in the packages, and stands {where}; "
            "if the code has changed, change the mutant along with it"
        )
    return places[0]


def mutated(mutant: Mutant, text: str) -> str:
    """The module's source without the guard.  Raises MutantError if that is no other program."""
    changed = text.replace(mutant.old, mutant.new)
    if changed == text:
        raise MutantError(f"{mutant.guard}: it changes nothing")
    try:
        compile(changed, mutant.guard, "exec")
    except SyntaxError as error:
        raise MutantError(f"{mutant.guard}: line {error.lineno}: {error.msg}") from error
    return changed


def read_tests(root: Path) -> Mapping[str, Sequence[Path]]:
    """The files of each test function, relative to `root`.  Raises MutantError for none."""
    found: dict[str, list[Path]] = {}
    for path in sorted((root / "tests").rglob("test_*.py")):
        for name in dict.fromkeys(_TEST.findall(path.read_text(encoding="utf-8"))):
            found.setdefault(name, []).append(path.relative_to(root))
    if not found:
        raise MutantError(f"no tests in {root / 'tests'}")
    return found


def nodes_of(names: Iterable[str], tests: Mapping[str, Sequence[Path]]) -> list[str]:
    """The files that pytest is to collect for these tests; `selection` leaves out the others.

    Raises MutantError for a test that is not there.
    """
    nodes: dict[str, None] = {}
    for name in names:
        function = name.partition("[")[0]
        if function not in tests:
            raise MutantError(f"{name}: there is no such test; name it anew where it is named")
        nodes |= dict.fromkeys(map(str, tests[function]))
    return sorted(nodes)
