import pytest

from mailstore.summaries.fields.section import Fields
from mailstore.summaries.limits import MAX_FIELDS, TooMuch


def test_folded_lines_are_one_value() -> None:
    fields = Fields(b"Subject: a\r\n b\r\n\tc\r\nTo: x\r\n")
    assert fields.first("subject") == "a b\tc"
    assert fields.names == ["subject", "to"]


def test_the_first_of_several_counts_and_all_are_there() -> None:
    fields = Fields(b"X-A: 1\r\nx-a: 2\r\n")
    assert fields.first("x-a") == "1"
    assert fields.all("x-a") == ["1", "2"]
    assert fields.joined("x-a") == "1, 2"


def test_an_absent_field_is_empty() -> None:
    fields = Fields(b"")
    assert (fields.first("to"), fields.all("to"), fields.joined("to")) == ("", [], "")
    assert "to" not in fields


def test_raw_octets_are_utf_8_or_windows_1252() -> None:
    fields = Fields("Subject: é\r\n".encode() + b"Comments: \xe9\r\n")
    assert fields.first("subject") == fields.first("comments") == "é"


def test_lines_without_a_name_are_passed_over() -> None:
    fields = Fields(b"From someone Mon\r\nno colon\r\n: x\r\na b: c\r\nTo : y\r\n")
    assert fields.names == ["to"]
    assert fields.first("to") == "y"


def test_bare_line_feeds_are_line_ends() -> None:
    assert Fields(b"A: 1\n 2\nB: 3\n").first("a") == "1 2"


def test_nul_and_bare_cr_are_left_out() -> None:
    assert Fields(b"A: x\0y\rz\r\n").first("a") == "xyz"


def test_more_fields_than_the_limit_are_too_much() -> None:
    with pytest.raises(TooMuch):
        Fields(b"a:\r\n" * (MAX_FIELDS + 1))
