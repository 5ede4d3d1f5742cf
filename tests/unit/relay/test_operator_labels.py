"""Operator labels: a limited set, the same in all processes, stable for ever."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from relay.operator_labels import OTHER, PLACES, UNLISTED, OperatorLabels
from whitelist.pki.distinguished_name import DistinguishedName

OPERATORS = {
    "b.mssante.fr": ("CN=smtp.B.fr,O=B,C=FR",),
    "c.mssante.fr": ("CN=mx2.c.fr,O=C,C=FR", "CN=mx1.c.fr,O=C,C=FR"),
    "nameless.mssante.fr": ("O=N,C=FR",),
    **{f"d{n}.mssante.fr": (f"CN=smtp.d{n}.fr,O=D,C=FR",) for n in range(200)},
}


def names_of(domain: str) -> list[DistinguishedName]:
    return [DistinguishedName.parse(text) for text in OPERATORS.get(domain, ())]


def labels(folder: Path) -> OperatorLabels:
    made = OperatorLabels(folder / "operators", names_of)
    made.read()
    return made


def test_who_is_sent_to_first_has_a_place(tmp_path: Path) -> None:
    one = labels(tmp_path)
    assert one.known("b.mssante.fr") == OTHER
    assert one.of("b.mssante.fr") == one.known("b.mssante.fr") == "smtp.b.fr"
    assert (tmp_path / "operators").read_text() == "smtp.b.fr\n"


@pytest.mark.integration
def test_never_more_than_the_places_whoever_asks_and_after_restarts(tmp_path: Path) -> None:
    processes = [labels(tmp_path) for _ in range(4)]

    def send(number: int) -> str:
        return processes[number % 4].of(f"d{number * 7 % 200}.mssante.fr")

    with ThreadPoolExecutor(8) as threads:
        given = set(threads.map(send, range(1000)))
    lines = (tmp_path / "operators").read_text().splitlines()
    assert len(lines) == len(set(lines)) == PLACES
    assert given == {*lines, OTHER}
    again = labels(tmp_path)
    domains = [f"d{n}.mssante.fr" for n in range(200)]
    assert {again.of(domain) for domain in domains} == given
    # From then on each process gives a domain the same label.
    for one in processes:
        assert [one.of(domain) for domain in domains] == [again.of(domain) for domain in domains]


def test_a_domain_of_several_operators_has_one_of_them_for_ever(tmp_path: Path) -> None:
    assert labels(tmp_path).of("c.mssante.fr") == "mx1.c.fr"
    (tmp_path / "operators").write_text("mx2.c.fr\n")
    assert labels(tmp_path).of("c.mssante.fr") == "mx2.c.fr"


@pytest.mark.parametrize(
    ("domain", "label"), [("gone.mssante.fr", UNLISTED), ("nameless.mssante.fr", OTHER)]
)
def test_who_cannot_be_named_takes_no_place(tmp_path: Path, domain: str, label: str) -> None:
    assert labels(tmp_path).of(domain) == label
    assert not (tmp_path / "operators").exists()


def test_places_written_by_hand_count_and_a_torn_line_harms_one_place(tmp_path: Path) -> None:
    (tmp_path / "operators").write_bytes(b"  SMTP.d7.FR \r\n\n\xff\xfesmtp.d8")
    one = labels(tmp_path)
    assert one.of("d7.mssante.fr") == "smtp.d7.fr"
    assert one.of("d8.mssante.fr") == "smtp.d8.fr"
    assert labels(tmp_path).known("d8.mssante.fr") == "smtp.d8.fr"


def test_a_disk_in_trouble_costs_the_label_and_says_so_once(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    one = OperatorLabels(folder / "operators", names_of)
    with capture_logs() as logs:
        assert [one.of("b.mssante.fr") for _ in range(3)] == [OTHER] * 3
    assert [line["event"] for line in logs] == ["metrics.operators_unwritable"]
    folder.mkdir()
    assert one.of("b.mssante.fr") == "smtp.b.fr"
