"""Forms of log-in names and of names of people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.accounts.names import (
    login_key,
    page_key,
    parse_login,
    parse_name,
    parse_tenant_name,
    tenant_key,
)
from mailstore.errors import InvalidName


@pytest.mark.parametrize(
    ("typed", "login"),
    [
        (" Claire.Martin ", "claire.martin"),
        ("dr@chu.mssante.fr", "dr@chu.mssante.fr"),
        ("pfi_1+x", "pfi_1+x"),
        ("a", "a"),
    ],
)
def test_login_names_are_lower_case(typed: str, login: str) -> None:
    assert parse_login(typed) == login == login_key(typed)


@pytest.mark.parametrize("typed", ["", "é", "a b", ".a", "a-", "a\x00b", "x" * 129, "а"])
def test_other_login_names_are_refused(typed: str) -> None:
    with pytest.raises(InvalidName, match="is not a log-in name"):
        parse_login(typed)


def test_names_are_tidied() -> None:
    assert parse_name("  De  La\u00a0Fontaine ", "family name") == "De La Fontaine"
    assert parse_name("E\u0301ric", "given name") == "Éric"
    assert parse_name(" ", "given name", empty=True) == ""


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("", "the family name is empty"),
        ("x" * 129, "129 characters"),
        ("a\u202eb", "cannot be seen"),
        ("a\udce9", "cannot be seen"),
    ],
)
def test_other_names_are_refused(typed: str, says: str) -> None:
    with pytest.raises(InvalidName, match=says):
        parse_name(typed, "family name")


def test_names_of_tenants() -> None:
    assert parse_tenant_name("CHU-Lyon") == "chu-lyon"
    with pytest.raises(InvalidName, match="such as chu-lyon"):
        parse_tenant_name("CHU de Lyon")


@given(st.text())
def test_a_parsed_login_name_is_found_as_typed(typed: str) -> None:
    try:
        login = parse_login(typed)
    except InvalidName:
        return
    assert login == login_key(typed) == parse_login(login)
    assert login.isascii()


@pytest.mark.parametrize("typed", ["", "é", "\x00", "a\x00b", "a\udce9"])
def test_a_malformed_log_in_name_finds_nobody(typed: str) -> None:
    assert login_key(typed) == tenant_key(typed) == ""
    assert page_key("\x00") == ""
    assert page_key("Claire.") == "claire."


def test_no_log_in_name_is_masked_in_the_audit_trail() -> None:
    # Nobody could be told by it: all such names are the same there.
    with pytest.raises(InvalidName, match="patient's identifier"):
        parse_login("279035121518989")
    with pytest.raises(InvalidName, match="patient's identifier"):
        parse_login("claire@patient.mssante.fr")
