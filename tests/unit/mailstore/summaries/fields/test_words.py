import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.summaries.fields.words import decode_text, unbase64
from mailstore.summaries.limits import MAX_WORDS, TooMuch


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("plain", "plain"),
        ("=?utf-8?q?R=C3=A9sultat_de?= biologie", "Résultat de biologie"),
        ("=?iso-8859-1?B?6XTp?=", "été"),
        # RFC 2047 §8: examples
        ("(=?ISO-8859-1?Q?a?= b)", "(a b)"),
        ("(=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=)", "(ab)"),
        ("(=?ISO-8859-1?Q?a_?= =?ISO-8859-2?Q?_b?=)", "(a  b)"),
        # RFC 2231 §5: a language
        ("=?US-ASCII*fr?Q?Compte_rendu?=", "Compte rendu"),
        # A character cut by its writer
        ("=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "é"),
        ("=?utf-8?B?w6k?=", "é"),
        ("=?utf-8?q?a b?=", "a b"),
        ("=?x-none?q?=E9?=", "é"),
        ("a =?utf-8?q?b", "a =?utf-8?q?b"),
        ("=?utf-8?x?b?=", "=?utf-8?x?b?="),
        ("=?iso-8859-1?q?Frösche?=", "Frösche"),
    ],
)
def test_encoded_words_are_decoded(written: str, text: str) -> None:
    assert decode_text(written) == text


def test_more_words_than_the_limit_are_too_much() -> None:
    with pytest.raises(TooMuch):
        decode_text("=?utf-8?q?a?= x " * (MAX_WORDS + 2))


@given(st.text(alphabet="=?qQbB utf-8é_", max_size=200))
def test_any_text_is_decoded_without_an_error(text: str) -> None:
    decode_text(text).encode()


@given(st.binary(max_size=100))
def test_any_octets_are_taken_as_base64(octets: bytes) -> None:
    unbase64(octets)
