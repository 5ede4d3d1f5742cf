"""Writes an inventory of the project's outside, or compares two inventories.

    python -m tools.outside FILE              write the inventory of this checkout to FILE
    python -m tools.outside --compare OLD NEW print vanished, new and moved items
    python -m tools.outside --compare OLD     the same, against this checkout

Sections: tests (file names without folders), commands, help, configuration, metrics, alerts,
alarms, events of the journal and of the log, the tables of their pages, replies, paths of the admin
HTTP, environment, dialogues, tables and migrations of the database, the wheel's modules (which a
new layout moves) and its other contents, generated files, verbs of the Makefile.
`--only SECTION` (repeated) leaves out the rest.

Exit codes: 0 no item vanished, 1 some vanished, 2 wrong usage or an unreadable file.
"""

import argparse
import ast
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.outside import checkout, program, sources
from tools.outside.inventory import Inventory, InventoryError, compare, parsed, report, written

ROOT = Path(__file__).resolve().parents[2]


_Maker = Callable[[], frozenset[str]]


def makers(root: Path) -> dict[str, _Maker]:
    """The function that finds the items, by section."""

    def of_sources(find: Callable[[Sequence[ast.Module]], frozenset[str]]) -> _Maker:
        return lambda: find(sources.trees(root))

    return {
        "alarms": program.alarms,
        "alerts": lambda: checkout.alerts(root),
        "commands": program.commands,
        "configuration": program.configuration,
        "dialogues": lambda: checkout.dialogues(root),
        "environment": of_sources(sources.variables),
        "events of the journal": of_sources(sources.journal_events),
        "events of the log": of_sources(sources.log_events),
        "generated": lambda: checkout.generated(root),
        "help": program.help_lines,
        "http": of_sources(sources.http_paths),
        "make": lambda: checkout.make_targets(root),
        "metrics": of_sources(sources.metrics),
        "migrations": lambda: checkout.migrations(root),
        "page metrics": lambda: checkout.page_rows(root, "metrics.md"),
        "page replies": lambda: checkout.page_rows(root, "replies.md"),
        "page trace": lambda: checkout.page_rows(root, "trace.md"),
        "replies": of_sources(sources.replies),
        "tables": program.tables,
        "tests": lambda: checkout.tests(root),
        "wheel": lambda: checkout.wheel(root)[1],
        "wheel modules": lambda: checkout.wheel(root)[0],
    }


def inventory(root: Path, only: Sequence[str] = ()) -> Inventory:
    """The inventory of a checkout, or only the named sections."""
    return {name: make() for name, make in makers(root).items() if not only or name in only}


def main(words: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="tools.outside",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--compare", action="store_true", help="compare two files")
    parser.add_argument("--only", action="append", default=[], metavar="SECTION")
    given = parser.parse_args(words)
    if unknown := set(given.only) - makers(ROOT).keys():
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    if len(given.files) > (2 if given.compare else 1):
        parser.error("too many files")
    try:
        if not given.compare:
            given.files[0].write_text(written(inventory(ROOT, given.only)), encoding="utf-8")
            return 0
        old = parsed(given.files[0].read_text(encoding="utf-8"))
        if len(given.files) > 1:
            new = parsed(given.files[1].read_text(encoding="utf-8"))
        else:
            new = parsed(written(inventory(ROOT, given.only)))
    except (OSError, InventoryError, checkout.CheckoutError) as error:
        parser.error(str(error))
    if given.only:
        old = {name: items for name, items in old.items() if name in given.only}
        new = {name: items for name, items in new.items() if name in given.only}
    differences = compare(old, new)
    sys.stdout.write(report(differences) or "nothing vanished, nothing is new\n")
    return 1 if any(one.vanished for one in differences.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
