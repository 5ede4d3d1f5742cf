"""Identifiers of persons, as typed and as an identity provider states them (DOMAIN §U3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.accounts.person_identifiers import PersonIdentifier, PersonIdentifierKind
from mailstore.errors import InvalidIdentifier

UUID = "0B1F6D5E-9d0f-4a64-8f2d-5f2c8a9c3d10"


def test_typed_identifiers_are_checked() -> None:
    parsed = PersonIdentifier.parse("RPPS", " 10000001916 ")
    assert parsed == PersonIdentifier(PersonIdentifierKind.RPPS, "10000001916")
    assert str(PersonIdentifier.parse("ADELI", "012807590")) == "ADELI 012807590"
    assert PersonIdentifier.parse("PSI", UUID).value == UUID.lower()
    with pytest.raises(InvalidIdentifier, match="check digit"):
        PersonIdentifier.parse("RPPS", "10000001917")
    assert PersonIdentifier.parse("RPPS", "10000001917", luhn=frozenset())
    with pytest.raises(InvalidIdentifier, match="not a PSI"):
        PersonIdentifier.parse("PSI", "a b c d")


@pytest.mark.parametrize(
    ("origin", "value", "read"),
    [
        ("RPPS", "810000001916", "RPPS 10000001916"),
        ("RPPS", "10000001916", "RPPS 10000001916"),
        ("", "810000001916", "RPPS 10000001916"),
        ("", "0012807590", "ADELI 012807590"),
        ("ADELI", "0012807590", "ADELI 012807590"),
        ("", "500000001815646/CPAT00045", "PSI 500000001815646/cpat00045"),
        ("EDIT", "ANS20231122132732", "PSI ans20231122132732"),
        # Another origin than the national ones states no RPPS, whatever the form.
        ("EDIT", "810000001916", "PSI 810000001916"),
        ("PSI", UUID, f"PSI {UUID.lower()}"),
        ("RPPS", UUID, None),
        ("", "", None),
        ("EDIT", "a b", None),
    ],
)
def test_stated_identifiers_u3(origin: str, value: str, read: str | None) -> None:
    stated = PersonIdentifier.stated(origin, value)
    assert (None if stated is None else str(stated)) == read


@given(st.text(), st.text())
def test_no_statement_fails(origin: str, value: str) -> None:
    stated = PersonIdentifier.stated(origin, value)
    if stated is not None:
        assert PersonIdentifier.parse(stated.kind, stated.value, luhn=frozenset()) == stated
