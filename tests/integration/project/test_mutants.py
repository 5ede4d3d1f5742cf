"""The harness of the mutants, and that each of them is there still."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.mutants.__main__ import ROOT, main
from tests.mutants.catalogue import MUTANTS
from tests.mutants.model import (
    Mutant,
    MutantError,
    mutated,
    nodes_of,
    place_of,
    read_modules,
    read_tests,
)
from tests.mutants.selection import is_chosen
from tests.mutants.trying import Checkout, Fate

pytestmark = pytest.mark.timeout(300)  # a copy, and a worker that imports all libraries twice

AREAS = {
    "acceptance",
    "administrators",
    "admission",
    "admission of servers",
    "app password",
    "audit",
    "delivery",
    "disk guard",
    "endings",
    "expiry",
    "framing",
    "log-in",
    "names",
    "OCSP",
    "people",
    "queue",
    "reports",
    "revocation",
    "rights",
    "selection",
    "sessions",
    "totp",
    "trace",
    "trust",
    "verdicts",
    "watchdog",
    "white list",
}


def test_each_mutant_stands_once_in_the_sources_and_has_its_tests() -> None:
    modules, tests = read_modules(ROOT), read_tests(ROOT)
    problems = []
    for mutant in MUTANTS:
        try:
            mutated(mutant, modules[place_of(mutant, modules)])
            nodes_of(mutant.tests, tests)
        except MutantError as error:
            problems.append(str(error))
    assert problems == []


def test_no_guard_is_named_twice_and_every_area_has_some() -> None:
    assert len({mutant.guard for mutant in MUTANTS}) == len(MUTANTS)
    assert {mutant.guard.partition(":")[0] for mutant in MUTANTS} == AREAS
    assert len(MUTANTS) > 200


MODULES = {Path("made/a.py"): "x = 1\ny = 1\n", Path("made/b/c.py"): "x = 2\n"}


@pytest.mark.parametrize(
    ("old", "says"),
    [
        ("z = 1", "stands nowhere"),
        ("x = ", "stands made/a.py, made/b/c.py"),
        (" = 1\n", "stands made/a.py, made/a.py"),
    ],
)
def test_a_text_that_is_not_there_once_is_an_error(old: str, says: str) -> None:
    with pytest.raises(MutantError, match=says):
        place_of(Mutant("guard", old, "", ()), MODULES)


def test_a_module_that_moved_is_found() -> None:
    assert place_of(Mutant("guard", "x = 2", "x = 3", ()), MODULES) == Path("made/b/c.py")


@pytest.mark.parametrize(
    ("new", "says"), [("x = 1", "changes nothing"), ("x = = 1", "line 1: invalid syntax")]
)
def test_a_mutant_is_another_program(new: str, says: str) -> None:
    with pytest.raises(MutantError, match=says):
        mutated(Mutant("guard", "x = 1", new, ()), "x = 1\n")


def test_tests_are_found_by_their_names_wherever_they_are(tmp_path: Path) -> None:
    for name in ("relay/test_a.py", "relay/deeper/test_b.py"):
        path = tmp_path / "tests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "class TestX:\n    async def test_x(self) -> None: ...\n\n\ndef test_y(): ...\n"
        )
    tests = read_tests(tmp_path)
    assert nodes_of(["test_x[1-", "test_x"], tests) == [
        "tests/relay/deeper/test_b.py",
        "tests/relay/test_a.py",
    ]
    with pytest.raises(MutantError, match="test_z: there is no such test"):
        nodes_of(["test_z"], tests)


@pytest.mark.parametrize("empty", ["modules", "tests"])
def test_an_empty_checkout_is_an_error(tmp_path: Path, empty: str) -> None:
    with pytest.raises(MutantError, match=f"no {empty}"):
        read_modules(tmp_path) if empty == "modules" else read_tests(tmp_path)


@pytest.mark.parametrize(
    ("name", "chosen", "expected"),
    [
        ("test_a", ["test_a"], True),
        ("test_a[x-1]", ["test_a"], True),
        ("test_a[x-1]", ["test_a[x-"], True),
        ("test_a[y-1]", ["test_a[x-"], False),
        ("test_ab", ["test_a"], False),
        ("test_a[sqlite]", ["test_a"], True),
        ("test_a[postgresql]", ["test_a"], False),
    ],
)
def test_tests_are_chosen_by_name_and_parameter(
    name: str, chosen: list[str], *, expected: bool
) -> None:
    assert is_chosen(name, chosen) is expected


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    with closing(Checkout(ROOT, tmp_path_factory.mktemp("mutants"))) as made:
        yield made


KILLED = "framing: dots are stuffed"


def test_a_guard_that_is_out_is_noticed_and_in_again_afterwards(checkout: Checkout) -> None:
    (mutant,) = [one for one in MUTANTS if one.guard == KILLED]
    checkout.check([mutant])
    tried = checkout.try_one(mutant)
    assert tried.fate is Fate.KILLED, tried.output
    assert "1 failed" in tried.output
    checkout.check([mutant])


def test_a_mutant_that_no_test_notices_has_survived(checkout: Checkout) -> None:
    (mutant,) = [one for one in MUTANTS if one.guard == KILLED]
    other = Mutant(mutant.guard, mutant.old, mutant.new, ("test_faults_of_chunks",))
    assert checkout.try_one(other).fate is Fate.SURVIVED


def test_a_mutant_whose_tests_do_not_run_says_nothing(checkout: Checkout) -> None:
    broken = Mutant(
        "guard", "MAX_TEXT_LINE: Final = 998", "MAX_TEXT_LINE = 1 / 0", ("test_faults_of_chunks",)
    )
    assert checkout.try_one(broken).fate is Fate.INVALID


def test_a_test_that_fails_without_any_mutant_is_an_error(checkout: Checkout) -> None:
    (mutant,) = [one for one in MUTANTS if one.guard == KILLED]
    (name,) = mutant.tests
    (node,) = nodes_of([name], read_tests(ROOT))
    path = checkout.root / node
    text = path.read_text()
    path.write_text(f"{text}\n\ndef {name}() -> None:\n    raise AssertionError\n")
    with pytest.raises(MutantError, match="fail without any mutant"):
        checkout.check([mutant])
    path.write_text(text)


def test_a_guard_of_no_such_name_is_wrong_usage() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["no such guard"])
    assert ended.value.code == 2
