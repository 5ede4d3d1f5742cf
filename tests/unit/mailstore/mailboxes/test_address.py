"""Addresses of mailboxes: form, and equality of spellings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.errors import InvalidAddress
from mailstore.mailboxes.address import (
    MailboxAddress,
    address_key,
    parse_domain,
    parse_mailbox_address,
)


@pytest.mark.parametrize(
    "text",
    [
        "jean.dupont@medecin.mssante.fr",
        "noreply-biologie@chu.aura.mssante.fr",
        "279035121518989@patient.mssante.fr",
        "hélène.müller@hopital.mssante.fr",
        "a+b=c/d@interop-mssante.apicrypt.org",
        f"{'l' * 64}@hopital.mssante.fr",
    ],
)
def test_addresses_are_kept_as_given(text: str) -> None:
    assert str(parse_mailbox_address(text)) == text


def test_the_domain_is_put_in_lower_case_and_the_local_part_left() -> None:
    address = parse_mailbox_address(" Jean.Dupont@Medecin.MSSANTE.fr ")
    assert address == MailboxAddress("Jean.Dupont", "medecin.mssante.fr")
    assert address.key == "jean.dupont@medecin.mssante.fr"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("jean.dupont", "expected local-part@domain"),
        ("@medecin.mssante.fr", "not a dot-atom"),
        (".jean@medecin.mssante.fr", "not a dot-atom"),
        ("jean..dupont@medecin.mssante.fr", "not a dot-atom"),
        ("jean dupont@medecin.mssante.fr", "not a dot-atom"),
        ('"jean"@medecin.mssante.fr', "not a dot-atom"),
        ("jean\r\nX@medecin.mssante.fr", "not a dot-atom"),
        ("jean\u200b@medecin.mssante.fr", "not a dot-atom"),
        ("jean\ud800@medecin.mssante.fr", "not a dot-atom"),
        ("a@b@medecin.mssante.fr", "not a dot-atom"),
        (f"{'l' * 65}@hopital.mssante.fr", "longer than 64 octets"),
        (f"{'é' * 33}@hopital.mssante.fr", "longer than 64 octets"),
        (f"{'l' * 64}@{'d.' * 94}mssante.fr".replace("d.", "dd.", 1), "longer than 254 octets"),
        ("jean@", "is not a domain"),
        ("jean@ medecin.mssante.fr", "has a blank after the @"),
        ("jean@\u00a0medecin.mssante.fr", "has a blank after the @"),
        ("jean@-x.fr", "is not a domain"),
        ("jean@x_y.fr", "is not a domain"),
        ("jean@x..fr", "is not a domain"),
        ("jean@x.fr.", "is not a domain"),
        ("jean@[127.0.0.1]", "is not a domain"),
        ("jean@hôpital.fr", "xn--"),
        (f"jean@{'l' * 64}.fr", "is not a domain"),
        (f"jean@{'l.' * 126}fr", "is not a domain"),
    ],
)
def test_what_is_no_mailbox_address_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidAddress, match=reason):
        parse_mailbox_address(text)


def test_domains() -> None:
    assert parse_domain(" CHU.MSSante.fr\n") == "chu.mssante.fr"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Jean@CHU.mssante.fr", "jean@chu.mssante.fr"),
        ("HÉLÈNE@chu.mssante.fr", "hélène@chu.mssante.fr"),
        # é as one code point, and as e and an accent.
        ("h\u00e9l@chu.mssante.fr", "he\u0301l@chu.mssante.fr"),
        # RFC 5321 §4.1.2: needless quotes mean nothing.
        ('"jean.d"@chu.mssante.fr', "jean.d@chu.mssante.fr"),
        ('"je\\an"@chu.mssante.fr', "jean@chu.mssante.fr"),
    ],
)
def test_spellings_of_the_same_mailbox(one: str, other: str) -> None:
    assert address_key(one) == address_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("jean@chu.mssante.fr", "jean@chru.mssante.fr"),
        ("jean@chu.mssante.fr", "jéan@chu.mssante.fr"),
        ('"je an"@chu.mssante.fr', "jean@chu.mssante.fr"),
        ('"je an"@chu.mssante.fr', "je an@chu.mssante.fr"),
        # casefold() would make these equal.
        ("weiß@chu.mssante.fr", "weiss@chu.mssante.fr"),
    ],
)
def test_spellings_of_different_mailboxes(one: str, other: str) -> None:
    assert address_key(one) != address_key(other)


@given(st.text())
def test_any_text_has_a_key_and_either_parses_or_is_refused(text: str) -> None:
    address_key(text)
    try:
        address = parse_mailbox_address(text)
    except InvalidAddress:
        return
    assert parse_mailbox_address(str(address)) == address


# T with a diaeresis and an iota with dialytika and tonos are composed in lower case alone.
@pytest.mark.parametrize(
    ("one", "other"), [("T\u0308", "\u1e97"), ("\u03aa\u0301", "\u0390"), ("J\u030c", "\u01f0")]
)
def test_addresses_never_differ_by_case_alone_domain_9_34(one: str, other: str) -> None:
    """DOMAIN §9.34: an address is unique in any letter case and normalisation."""
    assert address_key(f"{one}@a.mssante.fr") == address_key(f"{other}@a.mssante.fr")


LOCAL = st.text(
    st.sampled_from('aZ.é\u0130\u03a3\u0308\u0301TJ\u0399 \u00a0\u212a\t@"'), max_size=6
)
DOMAIN_PART = st.text(st.sampled_from("aZ.\u212a \u00a0-"), max_size=5)


@pytest.mark.fuzz
@given(LOCAL, DOMAIN_PART)
def test_a_new_address_is_found_by_what_was_given(local: str, domain: str) -> None:
    text = f"{local}@{domain}"
    key = address_key(text.strip())
    assert address_key(key) == key
    try:
        parsed = parse_mailbox_address(text)
    except InvalidAddress:
        return
    assert parsed.key == key
    assert parse_mailbox_address(str(parsed)) == parsed
