import pytest

from mailstore.summaries.fields.charsets import decode, encode


@pytest.mark.parametrize(
    ("octets", "charset", "text"),
    [
        (b"\xe9t\xe9", "iso-8859-1", "été"),
        (b"\x80 \x93a\x94", "ISO-8859-1", "€ “a”"),
        ("été".encode(), "us-ascii", "été"),
        (b"\xe9t\xe9", "us-ascii", "été"),
        ("été".encode(), "x-unknown", "été"),
        (b"\xa4", "iso-8859-15", "€"),
        (b"+AOk-", "utf-7", "é"),
        (b"\xff\xfee\x00", "utf-16", "e"),
        (b"\xff", "utf-8", "\ufffd"),
    ],
)
def test_octets_are_read_in_their_charset(octets: bytes, charset: str, text: str) -> None:
    assert decode(octets, charset) == text


@pytest.mark.parametrize(
    "charset",
    [
        "punycode",
        "idna",
        "unicode_escape",
        "zlib_codec",
        "rot13",
        "undefined",
        "é",
        "x" * 1000,
        "\0",
    ],
)
def test_codecs_that_are_no_charset_are_not_used(charset: str) -> None:
    assert decode(rb"a-\ud800z", charset) == r"a-\ud800z"


def test_half_a_character_of_utf_7_is_replaced() -> None:
    text = decode(b"a+2AA-b", "utf-7")
    assert text.encode() == "a\ufffdb".encode()


def test_raw_octets_of_a_charset_come_back() -> None:
    assert encode("é", "iso-8859-1") == b"\xe9"
    assert encode("é", "x-unknown") == "é".encode()
