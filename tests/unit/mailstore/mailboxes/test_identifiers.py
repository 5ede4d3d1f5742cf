"""National identifiers (DOMAIN §1.5, §9.30, §9.32, §9.35)."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from foundation.ins import is_ins
from mailstore.errors import InvalidIdentifier
from mailstore.mailboxes.identifiers import (
    ATTACHMENTS,
    LUHN_KINDS,
    Identifier,
    IdentifierKind,
    MailboxType,
    check_attachment,
    id_nat_ps,
    id_nat_struct,
    luhn_valid,
    parse_id_nat_ps,
    parse_id_nat_struct,
    parse_identifier,
    read_stored,
    stored_kind,
)

K = IdentifierKind
NO_LUHN: frozenset[IdentifierKind] = frozenset()


def with_luhn_key(digits: str) -> str:
    """Append a key, computed differently from the code under test: by trying all ten."""
    doubled = {c: sum(map(int, str(2 * int(c)))) for c in "0123456789"}
    total = sum(doubled[c] if i % 2 == 0 else int(c) for i, c in enumerate(reversed(digits)))
    return digits + str(-total % 10)


def digits(length: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=length, max_size=length)


@pytest.mark.parametrize("rpps", ["10000001916", "10000005479"])
def test_rpps_of_the_ans_samples_pass(rpps: str) -> None:
    assert parse_identifier(K.RPPS, f" {rpps}\n") == Identifier(K.RPPS, rpps)


def test_illustrative_rpps_fails_luhn_and_passes_with_the_switch_off() -> None:
    with pytest.raises(InvalidIdentifier, match="RPPS 10001234567: the check digit"):
        parse_identifier(K.RPPS, "10001234567")
    switched = parse_identifier(K.RPPS, "10001234567", luhn=LUHN_KINDS - {K.RPPS})
    assert str(switched) == "RPPS 10001234567"


def test_adeli_has_no_key_to_enforce() -> None:
    assert not luhn_valid("012807591")
    assert parse_identifier(K.ADELI, "012807591", luhn=frozenset(K)).value == "012807591"


def test_corsican_finess_has_letters_and_no_key() -> None:
    for value in ("2A0000154", "2B0000020"):
        assert parse_identifier(K.FINESS, value).value == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (K.RPPS, "1000000191"),
        (K.RPPS, "100000019160"),
        (K.RPPS, ""),
        (K.RPPS, "1000000191A"),
        (K.RPPS, "1000000 916"),
        # Digits of Unicode, but not of the registers.
        (K.RPPS, "١٠٠٠٠٠٠١٩١٦"),
        (K.RPPS, "10000001916\n0"),
        (K.ADELI, "01280759"),
        (K.FINESS, "2C0000154"),
        (K.FINESS, "2a0000154"),
        # DOMAIN §1.5: a test value seen in a certificate.
        (K.FINESS, "0B0078671"),
        (K.SIREN, "12345678"),
        (K.SIRET, "1234567890123"),
        (K.RPPS_RANG, "10000001916"),
    ],
)
def test_malformed_values_are_refused_even_without_luhn(kind: K, value: str) -> None:
    with pytest.raises(InvalidIdentifier, match=f"is not a {kind} number: expected"):
        parse_identifier(kind, value, luhn=NO_LUHN)
    with pytest.raises(InvalidIdentifier):
        Identifier(kind, value)


LENGTHS = {K.RPPS: 11, K.FINESS: 9, K.SIREN: 9, K.SIRET: 14, K.RPPS_RANG: 14}


def test_every_kind_with_a_key_is_covered_here() -> None:
    assert set(LENGTHS) == LUHN_KINDS


@given(st.sampled_from(sorted(LENGTHS)), st.data())
def test_luhn_accepts_the_key_and_refuses_any_single_digit_changed(
    kind: IdentifierKind, data: st.DataObject
) -> None:
    value = with_luhn_key(data.draw(digits(LENGTHS[kind] - 1)))
    assert parse_identifier(kind, value).value == value
    place = data.draw(st.integers(0, len(value) - 1))
    digit = data.draw(st.sampled_from("0123456789"))
    assume(digit != value[place])
    with pytest.raises(InvalidIdentifier):
        parse_identifier(kind, value[:place] + digit + value[place + 1 :])


@given(digits(13), st.integers(0, 12))
def test_luhn_refuses_neighbours_swapped_save_for_0_and_9(body: str, place: int) -> None:
    value = with_luhn_key(body)
    pair = value[place : place + 2]
    assume(pair[0] != pair[1])
    assume(set(pair) != {"0", "9"})
    assert not luhn_valid(value[:place] + pair[::-1] + value[place + 2 :])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("810000005479", Identifier(K.RPPS, "10000005479")),
        ("0012807590", Identifier(K.ADELI, "012807590")),
    ],
)
def test_id_nat_ps_of_the_ans_samples(text: str, expected: Identifier) -> None:
    assert parse_id_nat_ps(text) == expected
    assert id_nat_ps(expected) == text


@pytest.mark.parametrize(
    ("prefix", "kind", "value"),
    [
        ("0", K.ADELI, "012807590"),
        ("1", K.FINESS, "2A0000154"),
        ("2", K.SIREN, with_luhn_key("18003604")),
        ("3", K.SIRET, with_luhn_key("1800360480001")),
        ("4", K.RPPS_RANG, with_luhn_key("1000000191601")),
    ],
)
def test_id_nat_struct_has_five_forms(prefix: str, kind: K, value: str) -> None:
    identifier = Identifier(kind, value)
    assert parse_id_nat_struct(prefix + value) == identifier
    assert id_nat_struct(identifier) == prefix + value


@pytest.mark.parametrize("text", ["", "5123456789", "910000005479", "8", "10000005479"])
def test_id_nat_ps_refuses_other_forms(text: str) -> None:
    with pytest.raises(InvalidIdentifier):
        parse_id_nat_ps(text)


def test_id_nat_struct_checks_the_key_inside_and_the_prefix() -> None:
    with pytest.raises(InvalidIdentifier, match="check digit"):
        parse_id_nat_struct("1" + "750000001")
    with pytest.raises(InvalidIdentifier, match=r"not an idNat_Struct.*0 \(ADELI\)"):
        parse_id_nat_struct("810000005479")


def test_forms_that_do_not_exist_are_refused() -> None:
    with pytest.raises(InvalidIdentifier, match="no idNat_Struct form"):
        id_nat_struct(Identifier(K.RPPS, "10000005479"))
    with pytest.raises(InvalidIdentifier, match="no idNat_PS form"):
        id_nat_ps(Identifier(K.FINESS, "2A0000154"))


SAMPLES = {
    K.RPPS: "10000001916",
    K.ADELI: "012807590",
    K.FINESS: "2A0000154",
    K.SIREN: "180036048",
    K.SIRET: "18003604800015",
    K.RPPS_RANG: "10000001916011",
}
ADMITTED = {
    MailboxType.PER: {K.RPPS, K.ADELI},
    MailboxType.ORG: {K.FINESS, K.SIRET, K.SIREN, K.RPPS_RANG, K.RPPS},
    MailboxType.APP: {K.FINESS, K.SIRET, K.SIREN, K.RPPS_RANG},
    MailboxType.CAB: {K.RPPS},
}


@pytest.mark.parametrize("mailbox_type", MailboxType)
@pytest.mark.parametrize("kind", IdentifierKind)
def test_attachment_rules_of_domain_1_3(mailbox_type: MailboxType, kind: K) -> None:
    identifier = Identifier(kind, SAMPLES[kind])
    if kind in ADMITTED[mailbox_type]:
        check_attachment(mailbox_type, identifier)
    else:
        with pytest.raises(InvalidIdentifier, match=f"a {mailbox_type} mailbox cannot hang on"):
            check_attachment(mailbox_type, identifier)
    assert ATTACHMENTS.keys() == ADMITTED.keys()


@pytest.mark.parametrize("matricule", ["279035121518989", "277076322082910"])
def test_ins_of_the_ans_test_set_pass(matricule: str) -> None:
    assert is_ins(matricule)


@pytest.mark.parametrize(
    ("department", "stands_for"), [("2A", "19"), ("2B", "18"), ("2a", "19"), ("2b", "18")]
)
def test_ins_of_corsica(department: str, stands_for: str) -> None:
    key = 97 - int(f"27903{stands_for}215189") % 97
    assert is_ins(f"27903{department}215189{key:02}")
    wrong = f"27903{department}215189{key % 97 + 1:02}"
    assert not is_ins(wrong)
    assert is_ins(wrong, key=False)


@given(st.integers(0, 10**13 - 1), st.integers(0, 14), st.sampled_from("0123456789"))
def test_ins_refuses_any_single_digit_changed(number: int, place: int, digit: str) -> None:
    matricule = f"{number:013}{97 - number % 97:02}"
    assert is_ins(matricule)
    assume(digit != matricule[place])
    changed = matricule[:place] + digit + matricule[place + 1 :]
    assert not is_ins(changed)
    assert is_ins(changed, key=False)


@pytest.mark.parametrize(
    "text",
    [
        *("", "2790351215189", "2790351215189890", "2790351215189AB", "27903C1215189 89"),
        "279035121518989\n",
        "\u0662" + "79035121518989",  # a digit of another script
    ],
)
@pytest.mark.parametrize("key", [True, False])
def test_ins_form_is_checked_in_any_mode(text: str, *, key: bool) -> None:
    assert not is_ins(text, key=key)


@pytest.mark.parametrize("kind", IdentifierKind)
def test_what_a_row_holds_comes_back(kind: K) -> None:
    # DOMAIN U1.4: RPPS-rang and RPPS, in a schema with one name for both.
    identifier = Identifier(kind, SAMPLES[kind])
    assert stored_kind(identifier) in {"RPPS", "ADELI", "FINESS", "SIREN", "SIRET"}
    assert read_stored(stored_kind(identifier), identifier.value) == identifier
