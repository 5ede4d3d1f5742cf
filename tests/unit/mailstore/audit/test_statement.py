"""Anchors as text: exact, found in any log line, refused if anything is changed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.audit.statement import (
    FoundAnchors,
    MalformedAnchor,
    SignedStatement,
    Statement,
    find_anchors,
    parse_statement,
)

DIGESTS = st.binary(min_size=32, max_size=32)
STATEMENTS = st.builds(
    Statement,
    st.integers(1, 2**40),
    st.integers(-(2**60), 2**60),
    DIGESTS,
    st.dictionaries(st.integers(1, 99), st.tuples(st.integers(1, 2**40), DIGESTS), max_size=3),
)
ONE = Statement(1, 2, bytes(32), {1: (3, b"d" * 32)})
LINE = SignedStatement(ONE.text(), b"s" * 64, b"k" * 32)


@given(STATEMENTS)
def test_a_statement_survives_its_text(statement: Statement) -> None:
    assert parse_statement(statement.text()) == statement


@given(STATEMENTS, STATEMENTS)
def test_two_statements_never_have_one_text(one: Statement, other: Statement) -> None:
    assert (one.text() == other.text()) == (one == other)


@given(st.text(max_size=30))
def test_any_text_is_a_statement_or_refused(text: str) -> None:
    with pytest.raises(MalformedAnchor):
        parse_statement(text)


@pytest.mark.parametrize(
    "text",
    [
        ONE.text() + " ",
        ONE.text().replace(":", ": ", 1),
        ONE.text().replace('"version":1', '"version":2'),
        ONE.text().replace('"at":2', '"at":2.0'),
        ONE.text().replace('"at":2', '"at":true'),
        ONE.text().replace("64" * 32, "64" * 31),
        "[" * 100_000,
        "{}",
        "[]",
    ],
)
def test_a_statement_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(MalformedAnchor):
        parse_statement(text)


def test_lines_are_found_behind_anything() -> None:
    log = f"nothing\nNov 22 10:11:12 host mssante[7]: {LINE.line()}\n\n{LINE.line()} end\n"
    assert find_anchors(log) == FoundAnchors([LINE, LINE], [])


@pytest.mark.parametrize(
    "line",
    [
        LINE.line()[:-1],
        LINE.line().replace("73" * 64, "7"),
        LINE.line().replace('"statement"', '"other"'),
        json.dumps({"audit_anchor": 1, "key": "", "signature": "", "statement": "{}"}),
        '{"audit_anchor":',
    ],
)
def test_a_damaged_anchor_is_reported_by_its_line(line: str) -> None:
    line = line.replace('{"audit_anchor": ', '{"audit_anchor":')
    text = f"first\n{line}\n{LINE.line()}\n"
    assert find_anchors(text) == FoundAnchors([LINE], [2])
