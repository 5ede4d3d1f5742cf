"""tools.outside: the inventory of names that others rely on, and its comparison."""

import ast
from pathlib import Path

import pytest

from tools.outside import program, sources
from tools.outside.__main__ import ROOT, main, makers
from tools.outside.inventory import Difference, InventoryError, compare, parsed, report, written


def test_an_inventory_is_read_back() -> None:
    made = {"help": frozenset({"a | b\nc", "== d", "\\n"}), "tests": frozenset({"f.py::t"})}
    text = written(made)
    assert compare(parsed(text), parsed(text)) == {}
    assert len(text.splitlines()) == 6
    assert {name: len(items) for name, items in parsed(text).items()} == {"help": 3, "tests": 1}


def test_an_empty_section_is_an_error() -> None:
    with pytest.raises(InventoryError, match="section metrics: nothing was found"):
        written({"metrics": frozenset()})


def test_a_text_without_sections_is_no_inventory() -> None:
    with pytest.raises(InventoryError, match="no inventory"):
        parsed("hello\n")


def test_vanished_and_new_items_are_named() -> None:
    found = compare({"metrics": frozenset({"a", "b"})}, {"metrics": frozenset({"b", "c"})})
    assert found == {"metrics": Difference(vanished=("a",), new=("c",))}
    assert report(found) == "VANISHED: metrics (1)\n  - a\nnew: metrics (1)\n  + c\n"


def test_a_section_that_is_gone_has_vanished() -> None:
    found = compare({"metrics": frozenset({"a"})}, {})
    assert found == {"metrics": Difference(vanished=("a",))}


def test_a_test_in_a_file_of_another_name_has_moved() -> None:
    old = {"tests": frozenset({"test_a.py::test_x[1]", "test_a.py::test_y"})}
    new = {"tests": frozenset({"test_b.py::test_x[1]", "test_b.py::test_z"})}
    assert compare(old, new) == {
        "tests": Difference(
            vanished=("test_a.py::test_y",),
            new=("test_b.py::test_z",),
            moved=(("test_a.py::test_x[1]", "test_b.py::test_x[1]"),),
        )
    }


def test_tests_that_share_a_name_do_not_count_as_moved() -> None:
    old = {"tests": frozenset({"test_a.py::test_x", "test_b.py::test_x"})}
    new = {"tests": frozenset({"test_c.py::test_x"})}
    assert compare(old, new)["tests"].vanished == ("test_a.py::test_x", "test_b.py::test_x")


def test_a_dialogue_whose_content_differs_has_vanished() -> None:
    old = {"dialogues": frozenset({"a.txt sha256:1", "b.txt sha256:2"})}
    new = {"dialogues": frozenset({"c.txt sha256:1", "b.txt sha256:3"})}
    assert compare(old, new)["dialogues"] == Difference(
        vanished=("b.txt sha256:2",),
        new=("b.txt sha256:3",),
        moved=(("a.txt sha256:1", "c.txt sha256:1"),),
    )


SOURCE = """
SESSIONS = Counter("mssante_x", "words", ["reply", "code"])
yield _by_operator("mssante_y", "words", numbers)
yield GaugeMetricFamily("mssante_z", "words", labels=["state"])
for name in ("mssante_free",): yield GaugeMetricFamily(name, "words")
self._record(one, "delivery.held", why=one.held, **facts)
_log.warning("ocsp.silent", url=url)
Reply(550, "5.6.0", f"Over {limit} octets")
os.environ["MSSANTE_CRASH_AT"]
Route("/healthz", healthz)
"""


def test_metrics_events_and_replies_are_found_in_sources() -> None:
    modules = [ast.parse(f"def f():\n{SOURCE}".replace("\n", "\n    "))]
    assert sources.metrics(modules) == {
        "mssante_x",
        "mssante_x counter reply code",
        "mssante_y",
        "mssante_y gauge operator",
        "mssante_z",
        "mssante_z gauge state",
        "mssante_free",
    }
    held = {"delivery.held", "delivery.held why", "delivery.held **"}
    assert sources.journal_events(modules) == held
    assert sources.log_events(modules) == {"warning ocsp.silent", "warning ocsp.silent url"}
    assert sources.replies(modules) == {"550 5.6.0 Over {} octets"}
    assert sources.variables(modules) == {"MSSANTE_CRASH_AT"}
    assert sources.http_paths(modules) == {"/healthz"}


# The slow ones, which build the wheel and collect the tests, are left to the command itself.
@pytest.mark.parametrize(
    "section", sorted(makers(ROOT).keys() - {"wheel", "wheel modules", "tests"})
)
def test_each_section_finds_something(section: str) -> None:
    assert makers(ROOT)[section]()


def test_sections_know_the_names_that_everybody_uses() -> None:
    assert "mssante queue list" in program.commands()
    assert any(one.startswith("mssante queue list | ") for one in program.help_lines())
    (key,) = [one for one in program.configuration() if one.startswith("inbound.max_recipients ")]
    assert key == 'inbound.max_recipients {"exclusiveMinimum": 0, "type": "integer"} 1000'
    assert any(one.startswith("column deliveries.lease_token ") for one in program.tables())


def test_the_command_writes_compares_and_tells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    assert main([str(before), "--only", "http", "--only", "alarms"]) == 0
    assert main(["--compare", str(before), "--only", "http", "--only", "alarms"]) == 0
    assert capsys.readouterr().out == "nothing vanished, nothing is new\n"
    after.write_text(before.read_text().replace("/healthz\n", ""))
    assert main(["--compare", str(before), str(after)]) == 1
    assert "VANISHED: http (1)\n  - /healthz\n" in capsys.readouterr().out
    assert main(["--compare", str(after), str(before)]) == 0


@pytest.mark.parametrize("words", [["x", "--only", "nothing"], ["--compare", "missing"], []])
def test_wrong_usage_exits_with_2(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / word) if word == "missing" else word for word in words])
    assert ended.value.code == 2
