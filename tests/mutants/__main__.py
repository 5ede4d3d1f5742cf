"""Tries every mutant, or those whose guards are named.

    python -m tests.mutants [--jobs N] [TEXT…]

TEXT is a part of a guard's name.  First all tests run without any mutant, and must pass.  Exit
codes: 0 all were killed, 1 one survived or could not be tried, 2 wrong usage.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.catalogue import MUTANTS
from tests.mutants.model import MutantError
from tests.mutants.trying import Fate, try_all

ROOT = Path(__file__).resolve().parents[2]


def main(words: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="tests.mutants",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("guards", nargs="*", metavar="TEXT")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N")
    given = parser.parse_args(words)
    chosen = [
        mutant
        for mutant in MUTANTS
        if not given.guards or any(text in mutant.guard for text in given.guards)
    ]
    if not chosen or given.jobs < 1:
        parser.error("no guard has such a name" if not chosen else "--jobs: from 1 on")
    alive = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        try:
            for tried in try_all(ROOT, chosen, Path(folder), given.jobs):
                print(f"{tried.fate:9} {tried.seconds:5.1f} s  {tried.mutant.guard}", flush=True)
                if tried.fate is not Fate.KILLED:
                    alive += 1
                    print(f"{tried.output.rstrip()}\n")
        except MutantError as error:
            print(f"make mutants: {error}", file=sys.stderr)
            return 1
    print(f"{len(chosen) - alive} of {len(chosen)} mutants killed")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
