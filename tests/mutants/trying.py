"""Tries mutants on copies of the checkout, which itself is never touched."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from tests.mutants.model import (
    Mutant,
    MutantError,
    mutated,
    nodes_of,
    place_of,
    read_modules,
    read_tests,
)

_LEFT_OUT: Final = shutil.ignore_patterns(
    ".*", "run", "build", "dist", "*.egg-info", "shared", "figures"
)
_WHERE: Final = (
    "import relay, mssante_operator.cli.main as c; print(relay.__file__, c.__file__, sep='\\n')"
)
_PATIENCE: Final = 60  # seconds for one test: a mutant may wait for ever


class Fate(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "SURVIVED"
    INVALID = "INVALID"


@dataclass(frozen=True)
class Tried:
    """A mutant's fate, with the seconds that it took and what pytest printed."""

    mutant: Mutant
    fate: Fate
    seconds: float
    output: str


class Checkout:
    """A copy of the checkout with a worker in it, in which one mutant at a time is tried.

    A copy of a copy has what was compiled there.  To be closed.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = folder / "copy"
        shutil.copytree(root, self.root, ignore=_LEFT_OUT, symlinks=True)
        # Found before the installed checkout, which has operator/ under this name too.
        if not (self.root / "mssante_operator").is_symlink():
            (self.root / "mssante_operator").symlink_to("operator")
        self._output = folder / "output"
        self._modules = read_modules(self.root)
        self._tests = read_tests(self.root)
        variables = {**os.environ, "PYTHONPATH": str(self.root)}
        done = subprocess.run(
            [sys.executable, "-c", _WHERE],
            cwd=self.root,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not all(
            Path(one).is_relative_to(self.root) for one in done.stdout.split()
        ):
            raise MutantError(f"the copy is not what is tested: {done.stdout}{done.stderr}")
        self._worker = subprocess.Popen(
            [sys.executable, "-m", "tests.mutants.worker"],
            cwd=self.root,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        # A module that is changed before would be read by the worker itself.
        if self._worker.stdout is None or not self._worker.stdout.readline():
            raise MutantError("the worker has not started; see what it printed above")

    def close(self) -> None:
        """End the worker."""
        self._worker.communicate()

    def check(self, mutants: Iterable[Mutant], jobs: int = 0) -> None:
        """Run the tests of all mutants without any.  Raises MutantError if one fails."""
        names = dict.fromkeys(name for mutant in mutants for name in mutant.tests)
        code, output = self._test(list(names), {}, "-n", str(jobs))
        if code:
            raise MutantError(f"the tests fail without any mutant (exit {code}):\n{output}")

    def try_one(self, mutant: Mutant) -> Tried:
        """Run the mutant's tests without its guard.  Raises MutantError if it says nothing."""
        place = place_of(mutant, self._modules)
        text, status = self._modules[place], place.stat()
        begun = time.monotonic()
        place.write_text(mutated(mutant, text), encoding="utf-8")
        try:
            # What it is compiled to must not stay beside the module once that is as it was.
            code, output = self._test(mutant.tests, {"PYTHONDONTWRITEBYTECODE": "1"}, "-x")
        finally:
            place.write_text(text, encoding="utf-8")
            os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
        # 1: a test failed.  Whatever else there is, the tests did not run.
        fate = {0: Fate.SURVIVED, 1: Fate.KILLED}.get(code, Fate.INVALID)
        return Tried(mutant, fate, time.monotonic() - begun, output)

    def _test(
        self, names: Sequence[str], variables: Mapping[str, str], *more: str
    ) -> tuple[int, str]:
        options = ["-q", "--no-header", "-p", "no:cacheprovider", "--timeout", str(_PATIENCE)]
        # The worker has imported the plugins, whose own assertions need not be explained.
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
        # Its own, so that no time goes into clearing up after other runs of pytest.
        options += ["--basetemp", str(self._output.with_name("temp"))]
        asked = {
            "words": [
                "-p",
                "tests.mutants.selection",
                *options,
                *more,
                *nodes_of(names, self._tests),
            ],
            "variables": {"MUTANT_TESTS": " ".join(names), **variables},
            "output": str(self._output),
        }
        told, answers = self._worker.stdin, self._worker.stdout
        if told is None or answers is None:
            raise MutantError("the worker has no standard input and output")
        told.write(f"{json.dumps(asked)}\n")
        told.flush()
        answer = answers.readline()
        if not answer:
            raise MutantError("the worker has ended; see what it printed above")
        return int(answer), self._output.read_text(encoding="utf-8", errors="replace")


def try_all(root: Path, mutants: Sequence[Mutant], folder: Path, jobs: int) -> Iterable[Tried]:
    """Try mutants side by side, each worker in a copy of its own below `folder`; in any order."""
    with ExitStack() as opened:
        first = opened.enter_context(closing(Checkout(root, folder / "0")))
        first.check(mutants, jobs)
        free: SimpleQueue[Checkout] = SimpleQueue()
        free.put(first)
        for number in range(1, min(jobs, len(mutants))):
            copy = Checkout(first.root, folder / str(number))
            free.put(opened.enter_context(closing(copy)))

        def attempt(mutant: Mutant) -> Tried:
            checkout = free.get()
            try:
                return checkout.try_one(mutant)
            finally:
                free.put(checkout)

        with ThreadPoolExecutor(jobs) as pool:
            yield from pool.map(attempt, mutants)
