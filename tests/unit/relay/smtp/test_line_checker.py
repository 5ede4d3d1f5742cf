"""Lines of a message, compared with a naive reading (RFC 5321 §2.3.8, §4.5.2, §4.5.3.1.6).

Lines of equal length are checked in another way than others; the result must be the same.
"""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.smtp.line_checker import LineChecker, Violation, even_lines
from tests.support.sessions.line_faults import first_violation
from tests.support.storage.cutting import made_of

FAULT = made_of(b"\n", b"\r", b"\0", b"\r\n", b"b", max_size=4)
HEADER = b"Subject: x\r\nContent-Transfer-Encoding: base64\r\n\r\n"


def lines_of(length: int, octets: int) -> bytes:
    """Lines of `length` octets each, their ends included."""
    return (b"x" * (length - 2) + b"\r\n") * (octets // length)


def found_in(text: bytes, *at: int) -> Violation | None:
    """The checker's result for a text cut at these places, or after the CRLF there."""
    checker, start = LineChecker(), 0
    for place in sorted(at):
        end = place + (text[place - 1 : place + 1] == b"\r\n")
        checker.check(text[start:end])
        start = end
    checker.check(text[start:])
    return checker.violation


@pytest.mark.fuzz
@given(
    made_of(b"\r\n", b"a", b"x" * 70, max_size=30),
    made_of(b"\n", b"\r", b"\0", b"\r\n", b"b", max_size=4),
    st.integers(0, 2000),
)
def test_a_line_checker_finds_what_the_naive_reading_finds(
    before: bytes, fault: bytes, position: int
) -> None:
    text = before + fault + before
    assert found_in(text, min(position, len(text))) is first_violation(text.split(b"\r\n"))


@pytest.mark.fuzz
@given(
    st.integers(2, 1002),
    made_of(b"\r\n", b"a", b"x" * 70, max_size=30),
    FAULT,
    st.integers(0, 10_000),
    st.integers(-3, 3),
    st.lists(st.integers(0, 20_000), max_size=2),
)
@example(78, b"", b"\n", 50, -1, [])
@example(78, b"", b"\n", 50, -2, [])
@example(78, b"", b"x", 50, -2, [])
@example(78, b"a", b"\r", 50, -3, [])
@example(1000, b"", b"\0", 10, 1, [])
@example(1001, b"", b"", 0, 0, [])
@example(2, b"", b"\r", 5_000, -2, [])
def test_what_is_found_does_not_depend_on_the_lines_about_it(
    length: int, before: bytes, fault: bytes, line: int, offset: int, cuts: list[int]
) -> None:
    lines = lines_of(length, 20_000)
    even = before + lines
    position = max(len(before) + (line + 1) * length % len(lines) + offset, 0)
    # Replacing other octets or inserted between them: the lines keep equal length, or do not.
    for behind in (even[position:], even[position + len(fault) :]):
        text = even[:position] + fault + behind + before
        expected = first_violation(text.split(b"\r\n"))
        assert found_in(text, *(min(at, len(text)) for at in cuts)) is expected


@pytest.mark.parametrize("length", [3, 78, 999, 1000])
def test_lines_of_one_length_are_found_between_others(length: int) -> None:
    # Otherwise the tests above would not compare the quick way.
    lines = lines_of(length, 30_000)
    start, end = even_lines(HEADER + lines + b"--end--\r\n")
    assert (start, end) == (len(HEADER), len(HEADER) + len(lines))
    start, end = even_lines(lines[5:-5])
    assert (start, end) == (-5 % length, (len(lines) - 5) // length * length - 5)


@pytest.mark.parametrize(
    "line",
    [
        b"\x00" + b"x" * 75 + b"\r\n",
        b"\r" + b"x" * 75 + b"\r\n",
        b"\n" + b"x" * 75 + b"\r\n",
        b"x" * 77 + b"\n",
        b"x" * 75 + b"\r\r\n",
        b"x" * 76 + b"\n\n",
    ],
)
def test_a_fault_among_lines_of_one_length_is_left_to_the_slow_way(line: bytes) -> None:
    lines = lines_of(78, 30_000)
    assert even_lines(lines[:780] + line + lines) == (0, 0)


@pytest.mark.parametrize("length", [1001, 20_000])
def test_lines_that_are_too_long_are_left_to_the_slow_way(length: int) -> None:
    assert even_lines(lines_of(length, 60_000)) == (0, 0)


def test_lines_of_many_lengths_are_left_to_the_slow_way() -> None:
    text = b"".join(b"x" * n + b"\r\n" for n in range(200))
    assert even_lines(text) == (0, 0)
    assert even_lines(b"x" * 20_000) == (0, 0)
    assert even_lines(b"") == (0, 0)
