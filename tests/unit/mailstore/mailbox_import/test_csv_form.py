"""CSV files of bulk imports: read as written, or refused with the line."""

import csv
import io
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.mailbox_import.csv_form import CsvLine, InvalidCsv, read_csv

COLUMNS = ("address", "type", "red_list")


def read(text: str) -> list[CsvLine]:
    return read_csv(text.encode(), COLUMNS, ("address",))


@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";"])
def test_what_people_and_spreadsheets_write(bom: str, end: str, separator: str) -> None:
    rows = ["Red-List,ADDRESS", ' oui ,"a@x"', ",", '"a', 'b",c@x']
    text = bom + end.join(rows).replace(",", separator)
    assert read(text) == [
        CsvLine(2, {"red_list": "oui", "address": "a@x"}),
        CsvLine(4, {"red_list": f"a{end}b", "address": "c@x"}),
    ]


@pytest.mark.parametrize(
    ("octets", "says"),
    [
        (b"", "the column 'address' is lacking in the first line; known: address, type, red_list"),
        (b"type\n", "'address' is lacking"),
        (b"address,phone\n", "the column 'phone' is not known"),
        (b"address,address\n", "'address' is named twice"),
        (b"address,\n", "the column '' is not known"),
        (b"address\na\n\xe9@x\n", "line 3 is not UTF-8: save the file"),
        (b'address\na\n"b\n', "line 3 is not CSV"),
        (b'address\n"a"b\n', "line 2 is not CSV"),
        (b"address\nx\ny\0@z\n", "line 3 has a NUL octet"),
        (b"address\n" + b"a" * 200_000, "line 2 is not CSV: field larger"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(octets: bytes, says: str) -> None:
    with pytest.raises(InvalidCsv, match=says.replace("(", r"\(")):
        read_csv(octets, COLUMNS, ("address",))


def test_a_file_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailstore.mailbox_import.csv_form.LARGEST", 10)
    with pytest.raises(InvalidCsv, match="11 octets, and 10 are the most"):
        read_csv(b"x" * 11, COLUMNS, ())


def test_a_line_with_a_wrong_number_of_cells_is_an_error_of_the_line() -> None:
    assert read("address,type\na\nb,PER\nc,PER,x\n") == [
        CsvLine(2, problem="1 cells, and the header names 2"),
        CsvLine(3, {"address": "b", "type": "PER"}),
        CsvLine(4, problem="3 cells, and the header names 2"),
    ]


# A file cannot begin a cell with a byte order mark or hold a lone surrogate.
CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\ufeff"), max_size=20)


@pytest.mark.fuzz
@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=10),
    st.permutations(COLUMNS),
    st.sampled_from([",", ";"]),
    st.booleans(),
)
def test_what_is_written_is_read(
    rows: list[tuple[str, str, str]], header: list[str], separator: str, bom: bool
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=separator, quoting=csv.QUOTE_ALL)
    writer.writerow(header)
    writer.writerows(rows)
    octets = out.getvalue().encode("utf-8-sig" if bom else "utf-8")
    try:
        found = read_csv(octets, COLUMNS, ("address",))
    except InvalidCsv:
        assert any("\0" in cell for row in rows for cell in row)
        return
    kept = [row for row in rows if any(cell.strip() for cell in row)]
    assert [dict(line.cells) for line in found] == [
        {name: cell.strip() for name, cell in zip(header, row, strict=True)} for row in kept
    ]


@pytest.mark.fuzz
@given(st.binary(max_size=200))
def test_any_octets_are_lines_or_an_error(octets: bytes) -> None:
    with suppress(InvalidCsv):
        read_csv(b"address;type\n" + octets, COLUMNS, ("address",))
    with suppress(InvalidCsv):
        read_csv(octets, COLUMNS, ())
