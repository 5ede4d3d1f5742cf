"""Addresses of patients and what may be sent there (DOMAIN §1.2, §1.5, §7.4, §9.30)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.ins import PATIENT_DOMAIN
from relay.policy import patients
from relay.smtp.address import SmtpAddress

ORDINARY = st.from_regex(r"[1-8][0-9]{12}", fullmatch=True)
CORSICAN = st.from_regex(r"[1-8][0-9]{4}2[AB][0-9]{6}", fullmatch=True)


def number(thirteen: str) -> int:
    """The first 13 characters as a number: 2A is 20 less a million, 2B less two (19 and 18)."""
    digits = int(thirteen[:6] + thirteen[6].translate({65: "0", 66: "0"}) + thirteen[7:])
    return digits - 1_000_000 * " AB".index(thirteen[6] if thirteen[6] in "AB" else " ")


def complete(thirteen: str) -> str:
    """The INS whose first 13 characters these are, its key found by trying."""
    (key,) = (key for key in range(1, 98) if (number(thirteen) + key) % 97 == 0)
    return f"{thirteen}{key:02}"


def refused(local: str, *, check_key: bool = True) -> str:
    reply = patients.refusal(SmtpAddress(local, PATIENT_DOMAIN), check_key=check_key)
    return str(reply or "")


@pytest.mark.parametrize("local", ["279035121518989", "277076322082910"])
def test_examples_of_ans_with_a_right_key(local: str) -> None:
    # DOMAIN §1.5
    assert refused(local) == ""


@pytest.mark.parametrize("local", ["reponse.automatique-test", "Reponse.Automatique-Test"])
@pytest.mark.parametrize("check_key", [True, False])
def test_the_national_test_mailbox(local: str, check_key: bool) -> None:
    assert refused(local, check_key=check_key) == ""


@pytest.mark.fuzz
@given(ORDINARY | CORSICAN, st.booleans())
def test_a_right_key_passes(thirteen: str, check_key: bool) -> None:
    assert refused(complete(thirteen), check_key=check_key) == ""
    assert refused(complete(thirteen).lower(), check_key=check_key) == ""


@pytest.mark.fuzz
@given(ORDINARY | CORSICAN, st.integers(0, 99))
def test_any_other_key_is_refused_where_it_is_checked(thirteen: str, key: int) -> None:
    local = f"{thirteen}{key:02}"
    said = refused(local)
    assert (said == "") == (local == complete(thirteen))
    assert local not in said
    assert refused(local, check_key=False) == ""


@pytest.mark.fuzz
@given(ORDINARY | CORSICAN, st.integers(0, 14), st.integers(0, 9))
def test_one_wrong_digit_is_noticed(thirteen: str, place: int, digit: int) -> None:
    right = complete(thirteen)
    wrong = right[:place] + str(digit) + right[place + 1 :]
    assert (refused(wrong) == "") == (wrong == right)


@pytest.mark.fuzz
@given(st.text(st.sampled_from("0123456789AB.-x٣²"), max_size=20), st.booleans())
def test_whatever_has_not_the_form_is_refused(local: str, check_key: bool) -> None:
    corsican = local[5:7] in {"2A", "2B"}
    plain = local[:5] + "20" + local[7:] if corsican else local
    if len(plain) == 15 and plain.isascii() and plain.isdigit():
        return
    assert refused(local, check_key=check_key).startswith("553 5.1.3 ")


@pytest.mark.parametrize(
    "local",
    [
        "2790351215189",  # without its key
        "27903512151898",
        "2790351215189890",
        "279035121518989x",
        " 279035121518989",
        "2790351215189 89",
        '"279035121518989"',
        "2790A5121518989",
        "279032C12151898",
        "jean.dupont",
        "postmaster",
        "reponse.automatique",
        "٢٧٩٠٣٥١٢١٥١٨٩٨٩",
    ],
)
@pytest.mark.parametrize("check_key", [True, False])
def test_what_is_no_ins(local: str, check_key: bool) -> None:
    said = refused(local, check_key=check_key)
    assert said == (
        "553 5.1.3 What stands before @patient.mssante.fr is not an INS of 15 characters"
    )


def test_the_refusal_says_what_is_counted() -> None:
    # DOMAIN §7.4, §7.5
    assert str(patients.over(50, patients.Counted.WIRE)) == (
        "552 5.3.4 Message over the limit of 50 octets to patient.mssante.fr"
    )
    assert str(patients.over(50, patients.Counted.CONTENT)) == (
        "552 5.3.4 Message over the limit of 50 octets of content to patient.mssante.fr"
    )
