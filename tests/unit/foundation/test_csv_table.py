"""Tables in CSV as spreadsheets write them, read strictly."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.csv_table import MOST_OCTETS, TableFault, TableRow, read_table
from foundation.visible_text import visible


def read(text: str | bytes) -> list[TableRow]:
    octets = text if isinstance(text, bytes) else text.encode()
    return read_table(octets, ("login", "name"), ("rpps",))


@pytest.mark.parametrize("between", [",", ";"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_each_spreadsheet_s_form(between: str, mark: str, end: str) -> None:
    lines = ["Login ,name,rpps", 'claire,"Martin ""C""",', "", ",,", "paul, Éric\u00a0P ,1"]
    text = mark + end.join(line.replace(",", between) for line in lines) + end
    assert read(text) == [
        TableRow(2, {"login": "claire", "name": 'Martin "C"', "rpps": ""}),
        TableRow(5, {"login": "paul", "name": "Éric\u00a0P", "rpps": "1"}),
    ]


def test_values_may_have_the_other_separator() -> None:
    assert read("login;name\na;b, c\n")[0].values == {"login": "a", "name": "b, c"}
    assert read('login,name\na,"b, c"\n')[0].values == {"login": "a", "name": "b, c"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the first line names the columns"),
        ("\n", "the first line names the columns"),
        ("login\n", "the column name is missing"),
        ("login,name,name\n", "the column name is there twice"),
        ("login,name,tel\n", "unknown column 'tel'; known are login, name, rpps"),
        ('login,"name\n', "line 1: its quotation marks are wrong"),
        (b"login,name\na,b\nc,\xe9\n", "line 3 is not UTF-8"),
        (b"login,name\n" + b"x" * MOST_OCTETS, "octets are too many"),
    ],
)
def test_other_files_are_refused(text: str | bytes, says: str) -> None:
    with pytest.raises(TableFault, match=says):
        read(text)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("a", "1 values for 2 columns"),
        ("a,b,c", "3 values for 2 columns"),
        ('a,"b', "quotation marks"),
        ('a,"b"c', "quotation marks"),
        ("a,b\x00", "cannot be seen"),
        ("a,b\u202e", "cannot be seen"),
        ("a," + "x" * 200_000, "too long"),
    ],
)
def test_a_faulty_line_leaves_the_others(line: str, says: str) -> None:
    first, second = read(f"login,name\n{line}\nc,d\n")
    assert first.line == 2
    assert says in str(first.fault)
    assert second == TableRow(3, {"login": "c", "name": "d"})


VALUES = st.text(max_size=20).filter(
    lambda text: visible(text) == text and text == text.strip() and text.isprintable()
)


@given(rows=st.lists(st.tuples(VALUES, VALUES)), between=st.sampled_from(",;"), mark=st.booleans())
def test_what_is_written_is_read(rows: list[tuple[str, str]], between: str, *, mark: bool) -> None:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=between, quoting=csv.QUOTE_ALL)
    writer.writerow(("login", "name"))
    writer.writerows(rows)
    octets = file.getvalue().encode("utf-8-sig" if mark else "utf-8")
    found = [(row.values["login"], row.values["name"]) for row in read(octets)]
    assert found == rows


@given(st.binary())
def test_no_octets_fail_otherwise(octets: bytes) -> None:
    try:
        read(b"login,name\n" + octets)
        read(octets)
    except TableFault:
        pass
