"""Domains that the names in a From field show, besides its addresses (see test_headers.py)."""

import encodings
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.smtp.author_domains import UNREADABLE, author_domains, decoded


@pytest.mark.parametrize(
    ("value", "addresses", "shown"),
    [
        ("Dr X <dr@b.fr>", {"b.fr"}, set()),
        ("=?utf-8?q?H=C3=A9l=C3=A8ne?= <dr@b.fr>", {"b.fr"}, {"b.fr"}),
        # An encoded word beside an address is a name; alone it is decoded and read.
        ("=?utf-8?q?x=40evil=2Efr?= <dr@b.fr>", {"b.fr"}, {"b.fr", "evil.fr"}),
        ("=?utf-8?q?x=40evil=2Efr?=", {"evil.fr"}, {"evil.fr"}),
        ("=?utf-8?q?Dr_X_=3Cx=40evil=2Efr=3E?=", {"evil.fr"}, {"evil.fr"}),
        ("=?utf-8?q?x=40evil=2Efr?=, <dr@b.fr>", {"evil.fr", "b.fr"}, {"evil.fr", "b.fr"}),
        ("=?utf-8?b?eEBldmlsLmZy?=", {"evil.fr"}, {"evil.fr"}),
        ("=?utf-8?b?eEBldmlsLmZyIQ?=", {UNREADABLE}, {"evil.fr"}),
        ("=?UTF-8*fr?Q?x=40evil=2Efr?=", {"evil.fr"}, {"evil.fr"}),
        ("=?x-made-up?q?x=40evil=2Efr?=", {"evil.fr"}, {"evil.fr"}),
        ("=?utf-7?q?x+AEA-evil=2Efr?=", {"evil.fr"}, {"evil.fr"}),
        ("=?utf-8?q?x=40ev?= =?utf-8?q?il=2Efr?=", {"evil.fr"}, {"evil.fr"}),
        ("=?utf-8?q?x=40?=evil.fr", {"evil.fr"}, {"evil.fr"}),
        ("=?utf-8?b?!!!!!?= <dr@b.fr>", {"b.fr"}, {"b.fr"}),
        ("=?utf-8?q?Equipe?=: a@b.fr;", {"b.fr"}, {"b.fr"}),
        ('"x@evil.fr" <dr@b.fr>', {"b.fr"}, {"b.fr", "evil.fr"}),
        ('"=?utf-8?q?x=40evil=2Efr?=" <dr@b.fr>', {"b.fr"}, {"b.fr", "evil.fr"}),
        ("dr@b.fr (x @ evil . fr)", {"b.fr"}, {"b.fr", "evil.fr"}),
        # Look-alikes of the same letters, and an extra dot.
        ("x@evil.fr.", {UNREADABLE}, {"evil.fr"}),
        ("x@ｅvil.fr", {UNREADABLE}, {"evil.fr"}),
        ("x＠evil。fr", {UNREADABLE}, {"evil.fr"}),
        ('"x@" <dr@b.fr>', {"b.fr"}, {"b.fr"}),
        ('"x\u0301@\u2100evil.fr" <dr@b.fr>', {"b.fr"}, {"b.fr", "a"}),  # ℀ reads a/c
    ],
)
def test_what_is_shown(value: str, addresses: set[str], shown: set[str]) -> None:
    assert author_domains(value) == (addresses, shown)


@pytest.mark.fuzz
@given(st.text(alphabet=st.sampled_from('=?utf-8qb_@.<>"(),;: aé\\4Z0'), max_size=200))
def test_any_value_is_read(value: str) -> None:
    addresses, shown = author_domains(value)
    assert addresses
    assert all(re.fullmatch(r"[a-z0-9.-]{1,255}", one) for one in shown)


@pytest.mark.parametrize(
    "value",
    [
        "=?a?q?" * 40_000,
        "?= =?" * 50_000,
        "=?utf-8?q?x?= " * 18_000,
        "=?" * 120_000,
        "?=" + " " * 250_000,
        # Marks that Unicode sorts into another order than received.
        '"' + "\u0301\u0316" * 64_000 + '" <dr@b.fr>',
        "(" + "x@" + "\u0315\u0300\u05ae" * 40_000 + ") dr@b.fr",
        '"' + "".join(map(chr, range(0x20000, 0x2FA1E))) + "\ufdfa" * 8_000 + '" <dr@b.fr>',
    ],
    ids=lambda value: ascii(value[:8]),
)
def test_hostile_repetition_takes_no_time(value: str) -> None:
    begun = time.process_time()
    author_domains(value)
    assert time.process_time() - begun < 5


def test_a_charset_that_nobody_knows_leaves_nothing_behind() -> None:
    # Python remembers each codec name that it was ever asked for.
    before = len(encodings._cache)
    for number in range(100):
        assert decoded(f"=?x-{number}?q?a=40b?=") == "a@b"
    assert len(encodings._cache) == before
