"""Exact comparison of values: look-alikes beyond ASCII never become ASCII."""

import sys
import time
import unicodedata
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whitelist.errors import InvalidName
from whitelist.pki.distinguished_name import MAX_VALUE, DistinguishedName
from whitelist.pki.name_folding import fold, tidy

parse = DistinguishedName.parse
BLANKS = [
    c
    for c in filter(str.isspace, map(chr, range(sys.maxunicode + 1)))
    if unicodedata.category(c) == "Zs"
]


@cache
def changing() -> list[str]:
    """All characters that folding may change; computed once, it takes a second."""
    every = [chr(n) for n in range(sys.maxunicode + 1) if not 0xD800 <= n < 0xE000]
    return [
        c for c in every if not c == c.casefold() == c.lower() == unicodedata.normalize("NFC", c)
    ]


@pytest.mark.integration
def test_no_character_beyond_ascii_becomes_ascii() -> None:
    outside = [c for c in changing() if not c.isascii() and c not in BLANKS]
    assert len(outside) > 2000
    assert [hex(ord(c)) for c in outside if fold(f"x{c}x").isascii()] == []


def test_each_character_is_folded_once() -> None:
    for character in changing():
        folded = fold(f"x{character}x")
        assert fold(folded) == folded


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("alb.m\u017fsante.fr", "alb.mssante.fr"),
        ("\u212aine", "kine"),  # the kelvin sign, which NFC makes K
        ("a\u037eb", "a;b"),
        ("stra\u00dfe", "strasse"),
        ("of\ufb01ce", "office"),
        ("\u0130", "i"),
        ("\u0131", "i"),
    ],
)
def test_twins_are_no_match(one: str, other: str) -> None:
    assert fold(one) != fold(other)
    assert fold(one.upper()) != fold(other) or one.upper() == other.upper()


@pytest.mark.parametrize(
    ("one", "other"),
    [("\u00c9TIENNE", "\u00e9tienne"), ("\u1e9e", "\u00df"), ("\u03a3\u03a3", "\u03c3\u03c2")],
)
def test_letters_of_one_case_pair_are_one(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize("blank", BLANKS, ids=lambda blank: hex(ord(blank)))
def test_runs_of_blanks_are_one_space(blank: str) -> None:
    assert tidy(f"{blank}a{blank}{blank}b{blank}") == "a b"


@pytest.mark.parametrize("character", [*"\t\n\v\f\r\x00\x1c\x1f\x7f\x85", "\u2028", "\u2029"])
def test_control_characters_and_line_ends_are_no_blanks(character: str) -> None:
    plain = DistinguishedName(((("CN", "a b"),), (("C", "FR"),)))
    for value in (f"a{character}b", f"a b{character}", f"{character}a b", f"a{character} b"):
        name = DistinguishedName(((("CN", value),), (("C", "FR"),)))
        assert name != plain
        assert str(name).isprintable()
        assert parse(str(name)) == name


@pytest.mark.parametrize("text", ["CN=a,\nC=FR", "CN=\na,C=FR", '"CN=a"\n', 'CN="a"\n,C=FR'])
def test_separators_do_not_take_line_ends(text: str) -> None:
    try:
        found = parse(text)
    except InvalidName:
        return
    assert found != parse("CN=a,C=FR")


@given(st.text(max_size=40))
def test_folding_twice_is_folding_once(value: str) -> None:
    assert fold(fold(value)) == fold(value)
    assert tidy(tidy(value)) == tidy(value)


def test_marks_of_direction_are_written_as_octets() -> None:
    assert str(parse("CN=a\u202eb")) == r"CN=a\E2\80\AEb"


def test_what_costs_the_square_of_its_length_is_refused_before() -> None:
    marks = "\u0316\u0301" * 60_000  # NFC sorts them, character by character
    began = time.perf_counter()
    for text in (f"CN={marks}", "+".join(["CN=a"] * 33)):
        with pytest.raises(InvalidName):
            parse(text)
    with pytest.raises(InvalidName, match="more than 256"):
        DistinguishedName(((("CN", marks),),))
    assert time.perf_counter() - began < 1
    assert parse("CN=" + "\u0301" * MAX_VALUE).common_name
