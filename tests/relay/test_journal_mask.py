"""No local part of a patient's address passes the mask, however it is written (DESIGN §3)."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.address import PATIENT_DOMAIN, parse_address
from relay.journal import _compose, mask

INS = "279037512345678"
AT = "2026-11-22T10:11:12.131+00:00"

ATOMS = st.from_regex(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\u00a0-\u2027]{0,5}", fullmatch=True)
QUOTED = st.from_regex(r"(?:[ !#-\[\]-~\u00a0-\u2027]|\\[ -~]){0,6}", fullmatch=True)
LOCALS = st.builds(lambda a, b: f"{a}{INS}{b}", ATOMS, ATOMS) | st.builds(
    lambda a, b: f'"{a}{INS}{b}"', QUOTED, QUOTED
)
DOMAINS = st.lists(st.booleans(), min_size=18, max_size=18).map(
    lambda upper: "".join(
        c.upper() if up else c for c, up in zip(PATIENT_DOMAIN, upper, strict=True)
    )
)
AROUND = st.text(st.characters(codec=None), max_size=20) | st.sampled_from(
    ["RCPT TO:<", "550 5.1.1 <x@y> ", "ORCPT=rfc822;", 'said "', f"x@{PATIENT_DOMAIN}", "<@a:"]
)


@pytest.mark.fuzz
@given(AROUND, LOCALS, DOMAINS, AROUND)
@example("", f'"a\\"b@c {INS}"', PATIENT_DOMAIN, ">")
@example("TO:", f"\u00a0{INS}\u3000", PATIENT_DOMAIN, "")
def test_no_local_part_passes(before: str, local: str, domain: str, after: str) -> None:
    masked = mask(f"{before}{local}@{domain}{after}")
    assert INS not in masked
    assert f"***@{domain}" in masked


@pytest.mark.fuzz
@given(st.text(st.characters(codec=None)))
def test_other_text_stays(text: str) -> None:
    if PATIENT_DOMAIN not in text.lower():
        assert mask(text) == text


@given(LOCALS)
def test_it_masks_as_addresses_do(local: str) -> None:
    address = parse_address(f"{local}@{PATIENT_DOMAIN}")
    assert mask(str(address)) == address.masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("no address", "no address"),
        ("dr@a.mssante.fr", "dr@a.mssante.fr"),
        ("at patient.mssante.fr now", "at patient.mssante.fr now"),
        ("@patient.mssante.fr", "@patient.mssante.fr"),
        ("179@patient.mssante.fr", "***@patient.mssante.fr"),
        ("179@Patient.MSSante.FR", "***@Patient.MSSante.FR"),
        (
            "550 5.1.1 <179@patient.mssante.fr>: no, <dr@a.mssante.fr> [session 0]",
            "550 5.1.1 <***@patient.mssante.fr>: no, <dr@a.mssante.fr> [session 0]",
        ),
        (
            "C: RCPT TO:<1 79@patient.mssante.fr> ORCPT=rfc822;179+40patient.mssante.fr",
            "C: RCPT TO:<***@patient.mssante.fr> ORCPT=rfc822;***+40patient.mssante.fr",
        ),
        ("RCPT TO:179@patient.mssante.fr", "RCPT TO:***@patient.mssante.fr"),
        (
            "ORCPT=utf-8;179\\x{40}patient.mssante.fr",
            "ORCPT=utf-8;***\\x{40}patient.mssante.fr",
        ),
        ("mailto:179%40patient.mssante.fr", "mailto:***%40patient.mssante.fr"),
        ("MAIL FROM:<l-179=patient.mssante.fr@x.fr>", "MAIL FROM:<***=patient.mssante.fr@x.fr>"),
        ("179 @ patient.mssante.fr", "*** @ patient.mssante.fr"),
        (
            "to 1@patient.mssante.fr, 2@patient.mssante.fr\n3@patient.mssante.fr",
            "to ***@patient.mssante.fr, ***@patient.mssante.fr\n***@patient.mssante.fr",
        ),
        ('"a\n1 7@patient.mssante.fr', '"a\n1 ***@patient.mssante.fr'),
        ("<***@patient.mssante.fr>", "<***@patient.mssante.fr>"),
    ],
)
def test_examples(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    "facts",
    [
        {"sender": f"{INS}@patient.mssante.fr"},
        {"recipients": ["dr@a.mssante.fr", f"{INS}@PATIENT.mssante.fr"]},
        {"lines": [f'C: RCPT TO:<"{INS}"@patient.mssante.fr>'] * 2000},
        {"detail": "x" * 11_990 + f" {INS}@patient.mssante.fr"},
        {"address": parse_address(f"{INS}@patient.mssante.fr")},
        {f"{INS}@patient.mssante.fr": 1},
        {"detail": f"\udcff{INS}@patient.mssante.fr"},
    ],
    ids=["text", "list", "transcript", "cut", "object", "name", "octets"],
)
def test_none_gets_into_the_journal_whoever_forgot_to_mask(facts: dict[str, object]) -> None:
    # Cut texts too: what is cut is masked first.
    line = _compose(AT, "refused", "", facts)
    assert INS[:3] not in line
