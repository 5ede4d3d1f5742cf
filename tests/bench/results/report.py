"""What `make bench` found: as a Markdown table for each part, as JSON, and in docs/performance.md.

A page keeps each part's table between `<!-- bench:PART -->` and `<!-- /bench:PART -->`: running one
part again replaces that one.
"""

import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench.results.chart import Chart, draw
from tests.bench.results.rows import Row
from tests.support.peers.postfix import COMMAND


def machine(generator: str, folder: Path) -> dict[str, Any]:
    """What the figures depend on besides us; `folder` is where messages are kept."""
    return {
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "postfix": _postfix_version(),
        "file_system": _file_system(folder),
        "generator": generator,
    }


def _postfix_version() -> str | None:
    if COMMAND is None:
        return None
    postconf = Path(COMMAND).with_name("postconf")
    words = [str(postconf), "-d", "-h", "mail_version"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _file_system(folder: Path) -> str:
    """The type of the file system that holds a folder: tmpfs syncs nothing."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    above = [(mount, kind) for _, mount, kind, *_ in mounts if folder.is_relative_to(mount)]
    return max(above, key=lambda one: len(one[0]))[1]


def as_json(about: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """Everything, for other programs."""
    return {"machine": dict(about), "rows": [asdict(row) | {"met": row.met} for row in rows]}


def describe(about: Mapping[str, Any]) -> str:
    """One line on what the figures depend on."""
    beside = f"Postfix {about['postfix']}" if about["postfix"] else "no Postfix"
    return (
        f"{about['cores']} cores (load {about['load_average']} at the start), "
        f"{about['file_system']}, Python {about['python']}, {beside}, "
        f"generator: {about['generator']}."
    )


def tables(rows: Sequence[Row]) -> dict[str, str]:
    """A Markdown table for each part, by its name."""
    parts = dict.fromkeys(row.part for row in rows)
    return {part: _table([row for row in rows if row.part == part]) for part in parts}


def _table(rows: Sequence[Row]) -> str:
    sides = list(dict.fromkeys(row.side for row in rows))
    goals = any(row.goal for row in rows)
    metered = [row.side for row in rows if row.cpu_ms is not None]
    units = {row.case: row.unit for row in rows}
    one_unit = len(set(units.values())) == 1
    head = [rows[0].unit if one_unit else "", *sides]
    if goals:
        head.append("goal")
    if metered:
        head.append("CPU each, ms: " + " / ".join(dict.fromkeys(metered)))
    lines = [head, ["---"] * len(head)]
    for case in dict.fromkeys(row.case for row in rows):
        found = {row.side: row for row in rows if row.case == case}
        line = [case if one_unit else f"{case}, {units[case]}"]
        line += [_cell(found[side]) for side in sides]
        if goals:
            line.append(next((str(row.goal) for row in found.values() if row.goal), ""))
        if metered:
            used = (row.cpu_ms for row in found.values() if row.cpu_ms is not None)
            line.append(" / ".join(f"{one:.2f}" for one in used))
        lines.append(line)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(row: Row) -> str:
    text = f"{row.value:.{0 if row.value >= 100 else 1}f}"
    notes = [f"{row.ratio:.2f} ×"] if row.ratio is not None else []
    if row.met is False:
        notes.append("missed")
    return f"{text} ({', '.join(notes)})" if notes else text


def write_page(page: Path, about: Mapping[str, Any], rows: Sequence[Row]) -> list[str]:
    """Put the tables into a page; returns the parts that it has no place for."""
    text, homeless = page.read_text(encoding="utf-8"), []
    for part, table in tables(rows).items():
        pattern = f"(<!-- bench:{part} -->\n).*?(<!-- /bench:{part} -->)"
        new = f"{table}\n{describe(about)}\n"
        text, found = re.subn(pattern, lambda m, new=new: m[1] + new + m[2], text, flags=re.DOTALL)  # type: ignore[misc]
        if not found:
            homeless.append(part)
    page.write_text(text, encoding="utf-8")
    return homeless


def draw_charts(folder: Path, rows: Sequence[Row]) -> list[Path]:
    """Draw the parts that are curves; returns the files written."""
    titles = {
        "sizes": ("Messages a second, by size", "size of a message"),
        "connections": ("Messages of 2 kB a second, by connections", "connections at once"),
    }
    written = []
    for part, (title, across) in titles.items():
        mine = [row for row in rows if row.part == part]
        if not mine:
            continue
        cases = tuple(dict.fromkeys(row.case for row in mine))
        series = {
            side: tuple(row.value for row in mine if row.side == side)
            for side in dict.fromkeys(row.side for row in mine)
        }
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"bench-{part}.svg"
        path.write_text(draw(Chart(title, across, mine[0].unit, cases, series)), encoding="utf-8")
        written.append(path)
    return written
