"""Text form of names: RFC 4514, with the deviations of the white list (DOMAIN §2.3)."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whitelist.errors import InvalidName
from whitelist.pki.rfc4514 import escape, split


@pytest.mark.parametrize(
    ("text", "rdns"),
    [
        ("CN=a.fr,O=X,C=FR", ((("CN", "a.fr"),), (("O", "X"),), (("C", "FR"),))),
        (" CN = a.fr , O = X", ((("CN", "a.fr "),), (("O", "X"),))),
        ("CN=a.fr,\u00a0O=X", ((("CN", "a.fr"),), (("O", "X"),))),
        ('O="C.H. DE  CADILLAC",C=FR', ((("O", "C.H. DE  CADILLAC"),), (("C", "FR"),))),
        ('O="A, B + C; <D>" , C=FR', ((("O", "A, B + C; <D>"),), (("C", "FR"),))),
        (r'O="A \"B\" \\ C"', ((("O", r'A "B" \ C'),),)),
        ('O=CRLCC "PAUL STRAUSS",C=FR', ((("O", 'CRLCC "PAUL STRAUSS"'),), (("C", "FR"),))),
        (r"O=A\, B\+C\2C\;D", ((("O", "A, B+C,;D"),),)),
        (r"O=Sant\C3\A9", ((("O", "Santé"),),)),
        (r"O=\#1\=2", ((("O", "#1=2"),),)),
        ("CN=a+OU=b,C=FR", ((("CN", "a"), ("OU", "b")), (("C", "FR"),))),
        ("OID.2.5.4.97=x,oid.1.2=y", ((("2.5.4.97", "x"),), (("1.2", "y"),))),
        ("CN=a=b", ((("CN", "a=b"),),)),
        ("CN=", ((("CN", ""),),)),
    ],
)
def test_splits(text: str, rdns: object) -> None:
    assert split(text) == rdns


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected TYPE=VALUE"),
        ("CN", "expected TYPE=VALUE"),
        ("=a", "expected TYPE=VALUE"),
        ("CN=a,", "expected TYPE=VALUE"),
        ("CN=a,,O=b", "expected TYPE=VALUE"),
        ("O=FOO, BAR,C=FR", r"in a value as \\,"),
        ("O=A + B", r"in a value as \\,"),
        ("\u017fT=Paris", "expected TYPE=VALUE"),  # ſ upper-cases to S: ST in disguise
        ("CN=a;O=b", "at character 5"),
        ("CN=a<b", "at character 5"),
        ("CN=a\x00", "at character 5"),
        ("CN=a\\", "at character 5"),
        (r"CN=a\z", r"unknown escape \\z, at character 5"),
        (r"CN=\C3\28", "not UTF-8"),
        ('CN="a', "never closed"),
        ('CN="a" b', "at character 8"),
        ("CN=#0C0141", "hexadecimal"),
        ("CN=" + "a" * 300 + ";", "…"),
    ],
)
def test_refuses_what_it_cannot_be_sure_of(text: str, message: str) -> None:
    with pytest.raises(InvalidName, match=message):
        split(text)


@given(st.text())
def test_any_text_gives_names_or_invalid_name(text: str) -> None:
    with suppress(InvalidName):
        assert split(text)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])).filter(lambda v: v == v.strip()))
def test_an_escaped_value_reads_back(value: str) -> None:
    written = escape(value)
    assert split(f"CN={written},C=FR") == ((("CN", value),), (("C", "FR"),))
    assert written.isprintable() or not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in written)


@given(st.text(alphabet=st.characters(exclude_characters='"\\', exclude_categories=["Cs"])))
def test_a_quoted_value_reads_back(value: str) -> None:
    assert split(f'O="{value}" ,C=FR') == ((("O", value),), (("C", "FR"),))
