import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.summaries.preview import MAX_PREVIEW, decoded, preview
from tests.support.mime import summary_of


def shown(text: str, subtype: str = "plain") -> str:
    return preview(text.encode(), subtype, "utf-8", "8bit")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\r\n  b\t c\0", "a b c"),
        ("x" * 1000, "x" * MAX_PREVIEW),
        (" " * 5000 + "late", ""),
        ("a\u202eb", "a b"),
    ],
)
def test_blanks_and_controls_of_a_text_go(text: str, expected: str) -> None:
    assert shown(text) == expected


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("<p>a</p><p>b</p>", "a b"),
        ("<html><head><title>t</title><style>p{}</style></head><body>a &amp; b", "a & b"),
        ("<head><style>p{}</style><body>a", "a"),
        ("a<!-- <p>no</p> -->b", "ab"),
        ("<script>if (a < b) {}</script>c", "c"),
        ("a < b", "a < b"),
        ("a<br/>b<img src='x'>c", "a bc"),
        ("<p", ""),
        ("<!-- never closed", ""),
        ("&#233;t&eacute;", "été"),
    ],
)
def test_html_is_stripped(markup: str, expected: str) -> None:
    assert shown(markup, "html") == expected


@pytest.mark.parametrize(
    ("octets", "encoding", "expected"),
    [
        (base64.b64encode(b"abc") + b"\r\n", "base64", b"abc"),
        (b"YWJj!!ZGVm\r\nZ", "base64", b"abcdef"),
        (b"a=C3=A9=\r\nb", "quoted-printable", "aéb".encode()),
        (b"a=", "8bit", b"a="),
    ],
)
def test_transfer_encodings_are_undone(octets: bytes, encoding: str, expected: bytes) -> None:
    assert decoded(octets, encoding) == expected


@given(st.binary(max_size=200), st.sampled_from(["plain", "html"]))
def test_any_octets_have_a_preview(octets: bytes, subtype: str) -> None:
    for encoding in ("", "base64", "quoted-printable"):
        text = preview(octets, subtype, "utf-16", encoding)
        assert len(text) <= MAX_PREVIEW
        assert text.isprintable()


def test_plain_text_comes_before_html() -> None:
    message = """Content-Type: multipart/alternative; boundary=b

--b
Content-Type: text/html

<p>markup
--b
Content-Type: text/plain

plain
--b--
"""
    assert summary_of(message).preview == "plain"
    assert summary_of(message.replace("\nplain", "\n")).preview == "markup"


def test_an_attached_text_is_no_preview() -> None:
    message = "Content-Type: text/plain\nContent-Disposition: Attachment; filename=a.txt\n\nx\n"
    assert summary_of(message).preview == ""


def test_text_of_an_attached_message_is_no_preview() -> None:
    assert summary_of("Content-Type: message/rfc822\n\nSubject: x\n\ntext\n").preview == ""
