"""Search blocks as octets: each column by itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.errors import SealBroken
from mailstore.summary_store.block_form import Block, Record, Text, lines_holding, to_octets
from mailstore.summary_store.folded import folded

_texts = st.text(max_size=20).map(folded)
_numbers = st.integers(-(2**62), 2**62)
_records = st.builds(
    Record,
    entry_id=_numbers,
    message_id=st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}"),
    sent=_numbers,
    sent_day=_numbers,
    **dict.fromkeys(Record._fields[4:], _texts),
)


@given(st.lists(_records, max_size=5))
def test_records_come_back_as_they_were(records: list[Record]) -> None:
    block = Block(to_octets(records))
    assert block.count == len(records)
    assert block.records() == records
    places = range(len(records))[::2]
    assert block.message_ids_at(places) == [one.message_id for one in records[::2]]


@given(st.lists(_records, max_size=5), _texts)
def test_a_text_is_found_in_its_own_column_and_message(records: list[Record], text: str) -> None:
    block = Block(to_octets(records))
    for column in Text:
        found = block.holding(column, text.encode("utf-8", "surrogatepass"))
        wanted = [
            at for at, one in enumerate(records) if (held := str(one[column])) and text in held
        ]
        assert found == wanted


@given(st.text())
def test_a_folded_text_is_one_line_and_stays_as_it_is(text: str) -> None:
    once = folded(text)
    assert "\n" not in once
    assert folded(once) == once


def test_letters_of_either_case_and_ligatures_are_alike() -> None:
    assert folded("ÉCHO  \t ﬁn") == folded("écho fin") == "écho fin"
    assert folded("e\u0301") == "é"


def test_no_text_spans_two_messages() -> None:
    assert lines_holding(b"ab\ncd\n", b"b\nc") == [0]
    assert lines_holding(b"ab\ncd\nab\n", b"b") == [0, 2]


@pytest.mark.parametrize("octets", [b"", b"\7\0\0\0\0", to_octets([])[:-9]])
def test_octets_of_another_form_are_refused(octets: bytes) -> None:
    with pytest.raises(SealBroken):
        Block(octets).records()
