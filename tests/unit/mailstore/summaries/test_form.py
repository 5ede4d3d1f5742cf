import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.summaries.form import UnknownForm, from_octets, to_octets
from mailstore.summaries.model import (
    Address,
    Attachment,
    ClinicalFacts,
    DeliveryReport,
    Envelope,
    Part,
    Receipt,
    Summary,
    ThreadKeys,
)

_TEXT = st.text(max_size=20)
_PAIRS = st.lists(st.tuples(_TEXT, _TEXT), max_size=3).map(tuple)
_ADDRESSES = st.lists(
    st.builds(Address, _TEXT, st.none() | _TEXT, st.none() | _TEXT, _TEXT), max_size=3
).map(tuple)
_ENVELOPES = st.builds(
    Envelope,
    sent_at=st.none() | st.integers(-(2**40), 2**40),
    subject=_TEXT,
    authors=_ADDRESSES,
    sender=_ADDRESSES,
    to=_ADDRESSES,
    bcc=_ADDRESSES,
    message_id=_TEXT,
)
_FACTS = st.builds(
    ClinicalFacts,
    codes=_PAIRS,
    ins_qualified=st.none() | st.booleans(),
    receipt=st.none() | st.builds(Receipt, _TEXT, _TEXT, st.none() | st.integers(0, 9999)),
    delivery_report=st.none() | st.builds(DeliveryReport, _TEXT, _TEXT, _TEXT),
)
_PARTS = st.recursive(
    st.builds(Part, _TEXT, _TEXT, st.integers(0), st.integers(0), st.integers(0), params=_PAIRS),
    lambda inner: st.builds(
        Part,
        _TEXT,
        _TEXT,
        st.integers(0),
        st.integers(0),
        st.integers(0),
        disposition_params=_PAIRS,
        language=st.lists(_TEXT, max_size=2).map(tuple),
        envelope=st.none() | _ENVELOPES,
        children=st.lists(inner, max_size=3).map(tuple),
    ),
    max_leaves=5,
)
_SUMMARIES = st.builds(
    Summary,
    st.integers(0, 2**40),
    st.booleans(),
    _ENVELOPES,
    _PAIRS,
    _TEXT,
    st.lists(st.builds(Attachment, _TEXT, _TEXT, st.integers(0)), max_size=3).map(tuple),
    st.builds(ThreadKeys, _TEXT, st.lists(_TEXT, max_size=3).map(tuple), _TEXT),
    _FACTS,
    st.none() | _PARTS,
)


@given(_SUMMARIES)
def test_a_summary_comes_back(summary: Summary) -> None:
    found = from_octets(to_octets(summary))
    assert found == summary
    assert hash(found) == hash(summary)  # no list is left in it


@given(_SUMMARIES)
def test_a_list_reads_all_but_the_structure(summary: Summary) -> None:
    found = from_octets(to_octets(summary), structure=False)
    assert found.structure is None
    assert found.envelope == summary.envelope
    assert found.clinical == summary.clinical


@pytest.mark.parametrize("octets", [b"", b"\x00", b"\xff{}"])
def test_octets_of_another_version_are_refused(octets: bytes) -> None:
    with pytest.raises(UnknownForm):
        from_octets(octets)


def test_no_repr_shows_content() -> None:
    word = "zebre"
    address = Address(word, word, word, word)
    facts = ClinicalFacts(xdm_subject=word, receipt=Receipt(word), product=word)
    part = Part(word, word, 0, 0, 0, params=((word, word),), envelope=Envelope(subject=word))
    summary = Summary(
        1,
        envelope=Envelope(subject=word, to=(address,)),
        fields=((word, word),),
        preview=word,
        attachments=(Attachment(word, word, 1),),
        thread=ThreadKeys(word, (word,), word),
        clinical=facts,
        structure=part,
    )
    shown = (summary, address, facts, part, *summary.attachments, summary.thread, facts.receipt)
    for one in (*shown, summary.envelope, DeliveryReport(word)):
        assert word not in f"{one} {one!r} {[one]}"
