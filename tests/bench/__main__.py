"""How fast mail comes in and goes out, beside Postfix on the same machine (`make bench`).

Real daemons, real mutual TLS, every message synced and counted in its mailbox.  The load is made by
the program that SMTPLOAD names (its source if that ends in .c), else by a Python one, which takes
more of the machine from both sides.  Machines differ and are shared: compare ratios of one run.
"""

import argparse
import json
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import structlog

from mssante_operator.setup.install import write_identity
from tests.bench.load import find_generator
from tests.bench.parts import OWN_SIDES, PARTS
from tests.bench.results import report
from tests.bench.results.rows import DEFAULT, FULL, QUICK, Bench, Row, shape_name
from tests.bench.sides import Shape, Side, ours, theirs
from tests.support.machines.daemon import federation
from tests.support.peers.postfix import missing


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    much = parser.add_mutually_exclusive_group()
    much.add_argument("--quick", action="store_true", help="a few messages of everything")
    much.add_argument("--full", action="store_true", help="more rounds, a million stored messages")
    parser.add_argument("--rounds", type=int, help="loads of each side; the median counts")
    parser.add_argument("--workers", type=int, nargs="+", help="our worker processes, a side each")
    parser.add_argument("--no-postfix", action="store_true", help="ours alone")
    parser.add_argument("--load", default=os.environ.get("SMTPLOAD", ""), help="see SMTPLOAD")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    parser.add_argument("--svg", type=Path, metavar="FOLDER", help="draw the curves there")
    parser.add_argument("--page", type=Path, metavar="FILE", help="replace the tables in this page")
    return parser


def measure(given: argparse.Namespace) -> tuple[dict[str, object], list[Row]]:
    """Run the parts that are asked for; what the figures depend on, and the figures."""
    scale = QUICK if given.quick else FULL if given.full else DEFAULT
    workers = tuple(given.workers or ([2] if given.quick else [1, 2]))
    if given.rounds:
        scale = replace(scale, rounds=given.rounds)
    reason = "not asked for" if given.no_postfix else missing()
    if reason:
        _say(f"without Postfix: {reason}")
    known = federation()
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="mssante-bench-")))
        write_identity(known.operators["b"], known.space.hierarchy, folder, "b")
        generator = find_generator(given.load, folder, (folder / "b.pem", folder / "b.key"))
        about = report.machine(generator.name, folder)
        sides: list[Side] = []
        if set(given.only) - OWN_SIDES:
            sides += [] if reason else [running.enter_context(theirs())]
            sides += [running.enter_context(ours(Shape(shape_name(n), n))) for n in workers]
        bench = Bench(generator, scale, workers, tuple(sides), not reason, _say)
        rows = [row for part in given.only for row in PARTS[part](bench)]
    return about | ({"postfix": None} if reason else {}), rows


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def main(words: Sequence[str] | None = None) -> None:
    """Measure as the command line says, and print the tables."""
    given = _options().parse_args(words)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        about, rows = measure(given)
    finally:
        structlog.reset_defaults()
    print(report.describe(about))
    if given.quick:
        print("A few messages of everything: too few to be held to the goals.")
    # Most of so short a load is its beginning.
    judged = [replace(row, goal=None) for row in rows] if given.quick else rows
    for part, table in report.tables(judged).items():
        print(f"\n{part}: {(PARTS[part].__doc__ or '').splitlines()[0]}\n\n{table}", end="")
    if given.json:
        given.json.write_text(json.dumps(report.as_json(about, rows), indent=1) + "\n")
    if given.svg:
        report.draw_charts(given.svg, rows)
    if given.page:
        homeless = report.write_page(given.page, about, rows)
        assert not homeless, f"{given.page} has no place for {homeless}"


if __name__ == "__main__":
    main()
