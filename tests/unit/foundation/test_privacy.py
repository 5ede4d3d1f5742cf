"""No patient passes the mask: neither address nor INS, in any writing (DOMAIN §1.5)."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from foundation.ins import PATIENT_DOMAIN
from foundation.journal.writer import _compose
from foundation.privacy import mask, mask_of
from relay.smtp.address import parse_address

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
        ("recipient=***@patient.mssante.fr", "recipient=***@patient.mssante.fr"),
        ("1=***@patient.mssante.fr", "***@patient.mssante.fr"),
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
    # Cut texts too: they are masked before the cut.
    line = _compose(AT, "refused", "", facts)
    assert INS[:3] not in line


# An INS of the test set of ANS and one of Corsica, both with a right key (DOMAIN §1.5).
WITH_KEY = "279035121518989"
CORSICAN = "1850175123456"[:5] + "2A" + "123456"
CORSICAN += f"{97 - int(CORSICAN.replace('2A', '19')) % 97:02}"


def coded(form: str, ins: str = WITH_KEY) -> str:
    return "".join(form.format(ord(one)) for one in ins)


@pytest.mark.parametrize("ins", [WITH_KEY, CORSICAN, CORSICAN.lower()])
@pytest.mark.parametrize(
    "text",
    [
        "450 4.1.1 utilisateur {} inconnu",
        "{}",
        'RCPT TO:<"{}"@a.mssante.fr>',
        "<{}@a.mssante.fr>",
        "ins_{}_x",
        "added{}beefadded",  # letters alone do not make it an identifier
        "badcafe{}badcafebadcafe",
        "a" * 16 + "{}" + "bbb",
        "a" * 18 + "{}",
        "A" * 17 + "{}",
        "a" * 17 + "{}" + "F",
        "a" * 24 + "{}" + "b" * 24,
        "a" * 50 + "{}",
        "a" * 40 + "{}" + "b" * 40,
        "https://dmp.example/?ins={}&v=1",
        "a\n{}\nb",
    ],
)
def test_an_ins_with_a_right_key_is_masked_wherever_it_stands(text: str, ins: str) -> None:
    assert mask(text.format(ins)) == text.format("***")


@pytest.mark.parametrize(
    "written",
    [
        "2 79 03 51 215 189 89",
        "279 035 121 518 989",
        "2.79.03.51.215.189.89",
        "2-79-03-51-215-189-89",
        "2\u00a079\u202f03 51\u2009215 189 89",
        "2790351215189 89",
        "2790351215189/89",
        "2790351215189 clé 89",
        "2790351215189 (clé : 89",
        "2790351215189 cle:89",
        "1 85 01 2A 123 456 " + CORSICAN[-2:],
        "279\u200b035121518989",
        "\uff12\uff17\uff19\uff10\uff13\uff15\uff11\uff12\uff11\uff15\uff11\uff18\uff19\uff18\uff19",
        "2%2079%2003%2051%20215%20189%2089",
        coded("%{:02X}"),
        coded("%{:02x}", CORSICAN),
        coded("+{:02X}"),
        coded("={:02X}", CORSICAN),
        coded("\\x{{{:02X}}}"),
        coded("&#{};"),
        coded("&#x{:x};", CORSICAN),
        "=?utf-8?B?cGF0aWVudCAyNzkwMzUxMjE1MTg5ODk=?=",
        "=?utf-8?Q?patient_2_79_03_51_215_189_89?=",
    ],
    ids=ascii,
)
def test_an_ins_is_masked_however_it_is_written(written: str) -> None:
    assert mask(f"450 no {written} here") == "450 no *** here"


@pytest.mark.parametrize(
    "text",
    [
        "279035121518988",  # a wrong key
        "2790351215189890",  # 16 digits
        "0279035121518989",
        "250 2.0.0 Ok: queued as 4BCD12345678 at 2026-11-29T22:10:11",
        "session 01936f3c9a7b7c1e8d27903512151898",
        f"01936f3c9a7b7c1e8{WITH_KEY}",  # an identifier of 32 digits, whatever digits those are
        f"blob {'a' * 40}{WITH_KEY}{'b' * 9}",
        f"{'a' * 10}{WITH_KEY}{'b' * 7}.draft",
        "=?utf-8?B?QsOpYXRyaWNlIGRlIGxhIFRvdXI=?=",
        "=?utf-8?B?AAA?=",
    ],
)
def test_other_numbers_stay(text: str) -> None:
    assert mask(text) == text


@pytest.mark.integration
@pytest.mark.parametrize("text", [f"a{WITH_KEY}" * 20_000, f"a{WITH_KEY[:-1]}0" * 20_000])
def test_a_long_run_is_masked_in_no_time(text: str) -> None:
    begun = time.process_time()
    assert WITH_KEY not in mask(text)
    assert time.process_time() - begun < 5


@pytest.mark.fuzz
@given(
    st.from_regex(r"[1-8][0-9]{4}(?:[0-9]{2}|2[ABab])[0-9]{6}", fullmatch=True),
    st.lists(st.sampled_from(["", " ", ".", "-", "\u00a0", "_", "%20"]), min_size=14, max_size=14),
    st.sampled_from(["", " ", "x", "<", "5.1.1 ", "utilisateur:", "é"]),
    st.sampled_from(["", " ", "x", ">", ", inconnu", ")"]),
)
def test_every_ins_with_a_right_key_is_masked(
    thirteen: str, between: list[str], before: str, after: str
) -> None:
    upper = thirteen.upper()
    number = int(upper.replace("2A", "19").replace("2B", "18") if not upper.isdigit() else upper)
    ins = f"{thirteen}{97 - number % 97:02}"
    written = "".join(a + b for a, b in zip(ins, [*between, ""], strict=True))
    masked = mask(f"{before}{written}{after}")
    # Preceding digits may make another INS with a right key, which is masked with it.
    assert masked.endswith(f"***{after}")
    assert before.startswith(masked.removesuffix(f"***{after}"))


def test_of_two_that_overlap_nothing_is_left() -> None:
    assert mask("5.1.1 169226307180 050") == "***"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("450 utilisateur 279037512345678 inconnu", "450 utilisateur *** inconnu"),
        ("450 utilisateur 2 79 03 75 123 456 78 inconnu", "450 utilisateur *** inconnu"),
        ("450 +32790+337512345678", "450 ***"),
        ("450 jean.dupont", "450 jean.dupont"),
        ("", ""),
    ],
)
def test_a_recipient_at_hand_is_masked_whatever_its_key(text: str, masked: str) -> None:
    own = [f"{INS}@Patient.mssante.fr", "jean.dupont@a.mssante.fr"]
    assert mask_of(text, own) == masked


@pytest.mark.parametrize(
    "facts",
    [
        {"reply": f"450 utilisateur {WITH_KEY} inconnu"},
        {"recipients": [f"{WITH_KEY}@a.mssante.fr"]},
        {"why": f"le patient {CORSICAN} attend"},
        {"error": ValueError(f"no {WITH_KEY}")},
        {"lines": [f"C: EHLO {WITH_KEY}"]},
    ],
    ids=["text", "list", "reason", "object", "transcript"],
)
def test_no_ins_gets_into_the_journal(facts: dict[str, object]) -> None:
    line = _compose(AT, "refused", "", {"session": f"01936f3c9a7b7c1e8{WITH_KEY}", **facts})
    assert '"session":"01936f3c9a7b7c1e8279035121518989"' in line
    assert line.count(WITH_KEY) == 1
    assert CORSICAN not in line
