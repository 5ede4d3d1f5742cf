"""Texts of one message, decoded; and the look at its octets before."""

import base64
import io
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.search.body_text import body_holds, field_holds, header_holds
from mailstore.search.first_look import may_hold
from mailstore.summaries.reader import read_summary
from mailstore.summary_store.folded import folded

_CHARSETS = ("utf-8", "iso-8859-1", "windows-1252", "utf-16", "iso-2022-jp", "utf-7")
_ENCODINGS = ("8bit", "base64", "quoted-printable")


def message(text: str, charset: str, encoding: str, subtype: str = "plain") -> bytes:
    octets = text.encode(charset, "replace")
    if encoding == "base64":
        octets = base64.encodebytes(octets)
    elif encoding == "quoted-printable":
        octets = quopri.encodestring(octets)
    head = (
        f"From: a@b.fr\r\nSubject: =?utf-8?q?r=C3=A9nal?=\r\nX-Etage: 3\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: text/{subtype}; charset={charset}\r\n"
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    )
    return head.encode() + octets


@pytest.mark.parametrize("encoding", _ENCODINGS)
@pytest.mark.parametrize("charset", _CHARSETS)
def test_a_word_is_found_in_each_form(charset: str, encoding: str) -> None:
    octets = message("Une échographie du foie.", charset, encoding)
    summary = read_summary(io.BytesIO(octets), b"")
    for word in ("foie", "chographie", "FOIE"):
        assert may_hold(octets.lower(), folded(word))
        assert body_holds(octets, summary, folded(word))
    assert not body_holds(octets, summary, "rate")


@given(
    st.text("aféKſﬁ１2 é=\r\nœ’", max_size=40),
    st.text("aféKſﬁ12œ", min_size=1, max_size=4),
    st.sampled_from(("utf-8", "windows-1252", "utf-16")),
    st.sampled_from(_ENCODINGS),
)
def test_the_look_before_decoding_misses_no_message(
    text: str, wanted: str, charset: str, encoding: str
) -> None:
    octets = message(text, charset, encoding)
    summary = read_summary(io.BytesIO(octets), b"")
    if body_holds(octets, summary, folded(wanted)):
        assert may_hold(octets.lower(), folded(wanted))


def test_most_messages_are_out_before_decoding() -> None:
    for charset, encoding in (("utf-8", "8bit"), ("utf-8", "quoted-printable")):
        octets = message("Une échographie « simple » du foie.", charset, encoding)
        assert not may_hold(octets.lower(), "radio")


def test_of_html_tags_are_left_out_and_entities_decoded() -> None:
    octets = message("<p class='secret'>r&eacute;nal</p>", "utf-8", "8bit", "html")
    summary = read_summary(io.BytesIO(octets), b"")
    assert body_holds(octets, summary, "rénal")
    assert not body_holds(octets, summary, "secret")


def test_the_header_is_decoded() -> None:
    octets = message("x", "utf-8", "8bit")
    summary = read_summary(io.BytesIO(octets), b"")
    assert header_holds(octets, summary, "rénal")
    assert field_holds(octets, summary, "SUBJECT", "rénal")
    assert field_holds(octets, summary, "x-etage", "")
    assert not field_holds(octets, summary, "x-etage", "4")
    assert not field_holds(octets, summary, "etage", "")


@given(st.binary(max_size=300), st.text(max_size=5))
def test_no_octets_stop_a_search(octets: bytes, text: str) -> None:
    summary = read_summary(io.BytesIO(octets), b"")
    may_hold(octets.lower(), folded(text))
    body_holds(octets, summary, folded(text))
    header_holds(octets, summary, folded(text))
