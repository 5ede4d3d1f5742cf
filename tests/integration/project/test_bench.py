"""The short form of `make bench`: each part runs and says what it must; no figure is judged."""

import io
import json
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.bench import __main__ as bench
from tests.bench import profile_inbound, sink
from tests.bench.outbound import REUSING
from tests.bench.parts import CONNECTIONS, PARTS, SIZES
from tests.bench.results.chart import Chart, draw, ticks
from tests.bench.results.report import describe, tables, write_page
from tests.bench.results.rows import POSTFIX, QUICK, Goal, Row
from tests.support.peers.postfix import missing

SVG = "{http://www.w3.org/2000/svg}"
PAGE = Path(__file__).parents[3] / "docs" / "performance.md"
ABOUT = {
    "cores": 2,
    "load_average": 0.5,
    "python": "3.11",
    "postfix": None,
    "file_system": "ext4",
    "generator": "Python",
}


@pytest.mark.timeout(400)
def test_each_part_runs_and_its_figures_make_sense(tmp_path: Path) -> None:
    """Every message acknowledged is in its mailbox, or the run itself fails."""
    found, page = tmp_path / "found.json", tmp_path / "performance.md"
    shutil.copy(PAGE, page)
    words = ["--quick", "--json", str(found), "--svg", str(tmp_path), "--page", str(page)]
    with redirect_stdout(io.StringIO()) as printed:
        bench.main(words)
    assert "missed" not in printed.getvalue(), "too few messages for that"
    read = json.loads(found.read_text())
    rows = {part: [row for row in read["rows"] if row["part"] == part] for part in PARTS}
    assert "Python" in printed.getvalue() or read["machine"]["generator"] == "SMTPLOAD"
    ours, theirs = {"2 workers"}, set() if missing() else {POSTFIX}

    def cases(part: str) -> list[str]:
        return list(dict.fromkeys(row["case"] for row in rows[part]))

    for part in ("sizes", "handshakes", "connections", "postgresql", "recipients"):
        assert {row["side"] for row in rows[part]} == ours | theirs, part
        assert len(rows[part]) == len(cases(part)) * len(ours | theirs)
        for row in rows[part]:
            assert row["value"] > 0
            assert len(row["samples"]) == QUICK.rounds
    assert cases("sizes") == cases("postgresql") == list(SIZES.values())
    assert cases("connections") == [str(number) for number in CONNECTIONS]
    _ratios_follow_from_the_values(rows["sizes"])
    assert [row["ratio"] is None for row in rows["growth"]] == [True, False, False]
    idle, busy = rows["memory"]
    assert 0 < idle["value"] <= busy["value"], "the first sample is one of all"
    assert busy["goal"] == {"sign": "≤", "bound": 400, "unit": "MB"}
    if not sink.missing():
        _goes_out(rows["outbound"])
        _drains(rows["backlog"])
    for part in ("sizes", "connections"):
        _shows(tmp_path / f"bench-{part}.svg", rows[part])
    assert page.read_text().count("generator: ") == len(PARTS), "docs/performance.md has all parts"


def _goes_out(rows: list[dict[str, Any]]) -> None:
    """Every message is taken by the peer once, or the run itself fails."""
    value = {row["side"]: row["value"] for row in rows}
    assert list(value) == [*([] if missing() else [POSTFIX, REUSING]), "ours"]
    ours = rows[-1]
    assert (ours["value"] > 0, ours["goal"]["bound"]) == (True, 2)
    assert all(row["cpu_ms"] > 0 for row in rows)
    if not missing():
        assert ours["ratio"] == pytest.approx(ours["value"] / value[POSTFIX])


def _drains(rows: list[dict[str, Any]]) -> None:
    found = {row["case"]: row for row in rows}
    assert [row["case"] for row in rows if row["goal"]] == [
        *("database at most", "courier's memory", "urgent message, slowest"),
    ]
    assert found["drained"]["value"] > 0
    assert found["courier's memory"]["value"] < found["all processes' memory"]["value"]
    assert found["urgent message, median"]["value"] <= found["urgent message, slowest"]["value"]


def _ratios_follow_from_the_values(rows: list[dict[str, Any]]) -> None:
    base = {row["case"]: row["value"] for row in rows if row["side"] == POSTFIX}
    for row in rows:
        if row["side"] != POSTFIX and base:
            assert row["ratio"] == pytest.approx(row["value"] / base[row["case"]])
            assert row["met"] == (row["ratio"] >= row["goal"]["bound"])


def _shows(path: Path, rows: list[dict[str, Any]]) -> None:
    texts = [one.text for one in ET.parse(path).iter(f"{SVG}text")]  # noqa: S314 - our own
    for row in rows:
        assert f"{row['value']:.0f}" in texts
        assert {row["side"], row["case"], row["unit"]} <= set(texts)


def test_a_chart_is_well_formed_and_has_every_number() -> None:
    chart = Chart(
        "Now & <then>", "size", "a second", ("2 kB", "1 MB"), {"a": (810, 95), "b": (7, 3)}
    )
    drawn = ET.fromstring(draw(chart))  # noqa: S314 - our own
    texts = [one.text for one in drawn.iter(f"{SVG}text")]
    assert {"810", "95", "7", "3", "2 kB", "1 MB", "size", "a second", "Now & <then>"} <= set(texts)
    assert len(list(drawn.iter(f"{SVG}polyline"))) == 2
    assert "prefers-color-scheme: dark" in (drawn.findtext(f"{SVG}style") or "")


def test_numbers_at_one_place_are_written_apart() -> None:
    drawn = ET.fromstring(draw(Chart("t", "x", "y", ("1",), dict.fromkeys("abc", (50,)))))  # noqa: S314 - our own
    heights = [
        float(one.attrib["y"])
        for one in drawn.iter(f"{SVG}text")
        if "value" in one.get("class", "")
    ]
    assert len(heights) == 3
    first, second, _ = sorted(heights)
    assert second - first == pytest.approx(15)


def test_a_chart_needs_a_value_for_each_case() -> None:
    with pytest.raises(ValueError, match="each case"):
        draw(Chart("t", "x", "y", ("1", "2"), {"a": (1,)}))
    with pytest.raises(ValueError, match="each case"):
        draw(Chart("t", "x", "y", ("1",), {}))


@pytest.mark.parametrize("highest", [0.3, 7, 99, 100, 1234])
def test_ticks_are_few_and_reach_beyond_the_highest(highest: float) -> None:
    marks = ticks(highest)
    assert marks[0] == 0
    assert marks[-1] >= highest * (1 - 1e-9)
    assert len(marks) <= 7


@pytest.mark.parametrize(
    ("goal", "value", "ratio", "met"),
    [
        (Goal("≥", 2), 10, 2.0, True),
        (Goal("≥", 2), 10, 1.9, False),
        (Goal("≤", 1), 10, 1.1, False),
        (Goal("≤", 400, "MB"), 400, None, True),
        (Goal("≤", 400, "MB"), 401, None, False),
        (Goal("≥", 2), 10, None, None),
        (None, 10, 2.0, None),
    ],
)
def test_a_goal_is_met_or_missed_or_cannot_be_told(
    goal: Goal | None, value: float, ratio: float | None, met: bool | None
) -> None:
    assert Row("sizes", "2 kB", "1 worker", value, "MB", (value,), ratio, goal).met is met


def test_a_table_says_what_was_missed_and_a_page_keeps_the_other_parts(tmp_path: Path) -> None:
    rows = [
        Row("sizes", "2 kB", POSTFIX, 200, "messages/s", (200,)),
        Row("sizes", "2 kB", "1 worker", 300, "messages/s", (300,), 1.5, Goal("≥", 2), 1.234),
    ]
    table = tables(rows)["sizes"]
    assert table.splitlines()[0] == (
        "| messages/s | Postfix | 1 worker | goal | CPU each, ms: 1 worker |"
    )
    assert table.splitlines()[2] == "| 2 kB | 200 | 300 (1.50 ×, missed) | ≥ 2 × | 1.23 |"
    page = tmp_path / "page.md"
    kept = "<!-- bench:memory -->\nkept\n<!-- /bench:memory -->\n"
    page.write_text(f"<!-- bench:sizes -->\nold\n<!-- /bench:sizes -->\n{kept}")
    assert write_page(page, ABOUT, rows) == []
    written = page.read_text()
    assert written.endswith(kept)
    assert table in written
    assert describe(ABOUT) in written
    assert "old" not in written
    growth = Row("growth", "2 kB", "1 worker", 300, "messages/s", (300,))
    assert write_page(page, ABOUT, [growth]) == ["growth"]


def test_a_table_of_several_units_names_each() -> None:
    rows = [
        Row("backlog", "drained", "20 recipients", 300, "recipients/s", (300,)),
        Row("backlog", "slowest", "20 recipients", 2.5, "s", (2.5,), None, Goal("≤", 2, "s")),
    ]
    assert tables(rows)["backlog"].splitlines() == [
        "|  | 20 recipients | goal |",
        "| --- | --- | --- |",
        "| drained, recipients/s | 300 |  |",
        "| slowest, s | 2.5 (missed) | ≤ 2 s |",
    ]


def test_a_generator_that_is_no_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="SMTPLOAD"):
        bench.main(["--quick", "--only", "sizes", "--load", str(tmp_path / "none")])


def test_the_profile_names_the_threads_and_what_they_call() -> None:
    words = ("--total", "20", "--connections", "2", "--lines", "500", "--load", "")
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.profile_inbound", *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    assert "CPU for a message of 2000 octets, ms: " in done.stdout
    if not profile_inbound.BY_THREAD:
        assert "no profile by function: since Python 3.12" in done.stdout
        return
    assert "event loop, under cProfile:" in done.stdout
    assert done.stdout.count(", under cProfile:") > 1, "what is durable is made so in threads"
    assert "session.py" in done.stdout
