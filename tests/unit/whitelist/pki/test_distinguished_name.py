"""Names compared as names (DOMAIN §2.3, §9.8, §9.9; docs/decisions/0042)."""

import re
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from tests.support.lists.hierarchy import NOW
from tests.support.lists.real import needs_real_data, real_octets
from whitelist.errors import InvalidName
from whitelist.pki.distinguished_name import DistinguishedName, label

parse = DistinguishedName.parse
KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(subject: x509.Name) -> x509.Certificate:
    """A real certificate, encoded and parsed again, as presented by a peer."""
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "AC")]))
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .sign(KEY, hashes.SHA256())
    )
    return x509.load_der_x509_certificate(made.public_bytes(Encoding.DER))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('O="C.H. DE  CADILLAC"', "O=C.H. DE  CADILLAC"),  # quoted by software, same operator
        ("O=C.H. DE  CADILLAC", "O=C.H. DE CADILLAC"),
        ("O=CHU\u00a0DE\u00a0 NICE", "O=CHU DE NICE"),
        ("CN=smtp-1.mssante.adista.fr ,C=FR", "CN=smtp-1.mssante.adista.fr,C=FR"),
        ("CN=mailin.a.fr, OU=1, O=X", "CN=mailin.a.fr,OU=1,O=X"),
        ("CN=MSSANTE.PROGINOV.FR", "CN=mssante.proginov.fr"),
        ("cn=a.fr,o=X", "CN=a.fr,O=X"),
        ("O=Sante\u0301", "O=Sant\u00e9"),  # decomposed and composed accents
        ("O=SANT\u00c9", "O=sant\u00e9"),
        (r"O=A\, B", 'O="A, B"'),
        (r"O=A\2C B", r"O=A\, B"),
        ("2.5.4.3=a.fr", "CN=a.fr"),
        ("OID.2.5.4.8=Paris", "S=Paris"),
        ("OU=b+CN=a", "CN=a+OU=b"),
    ],
)
def test_spellings_of_one_name_are_equal(one: str, other: str) -> None:
    assert parse(one) == parse(other)
    assert parse(one).folded == parse(other).folded
    assert hash(parse(one)) == hash(parse(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ST=Paris (75)", "ST=Paris(75)"),  # DOMAIN §9.8: operators list both spellings
        ("ST=Meurthe-et-Moselle (54)", "ST=Meurthe et Moselle (54)"),
        ('O=CENTRE HOSPITALIER "FRANCK-JOLY"', "O=CENTRE HOSPITALIER FRANCK-JOLY"),
        ("CN=a,OU=b", "OU=b,CN=a"),
        ("CN=a,OU=b", "CN=a+OU=b"),
        ("CN=a,O=b", "CN=a,OU=b"),
        ("CN=a", "CN=a,C=FR"),
        ("CN=a,OU=x,OU=y", "CN=a,OU=y,OU=x"),
        ("CN=a.fr", "CN=a.fr\u200b"),
        ("CN=a.fr", "CN=\u0430.fr"),  # Cyrillic a
        ("O=Hopital", "O=H\u00f4pital"),
    ],
)
def test_different_names_stay_different(one: str, other: str) -> None:
    assert parse(one) != parse(other)
    assert parse(one).folded != parse(other).folded


def test_attributes_common_name_and_text() -> None:
    name = parse('cn=a.fr , OU=1, O="X  \u00a0Y, Z" ,S=Paris (75),c=FR')
    assert name.attributes == (
        ("CN", "a.fr"),
        ("OU", "1"),
        ("O", "X Y, Z"),
        ("ST", "Paris (75)"),
        ("C", "FR"),
    )
    assert name.common_name == "a.fr"
    assert str(name) == r"CN=a.fr,OU=1,O=X Y\, Z,ST=Paris (75),C=FR"


def test_values_are_kept_in_composed_form() -> None:
    assert parse("O=Sante\u0301").attributes == (("O", "Sant\u00e9"),)


def test_a_common_name_is_never_chosen_among_several() -> None:
    assert parse("CN=alb.mssante.fr,CN=evil.fr").common_name is None
    assert parse("O=X").common_name is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CN=", "CN is empty"),
        ("CN=\u00a0 ", "CN is empty"),
        ("FOO=a", "unknown attribute type FOO"),
    ],
)
def test_names_that_could_never_match_are_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidName, match=message):
        parse(text)


def test_a_certificate_is_read_in_reverse_whatever_its_string_types() -> None:
    # DOMAIN §9.9: ASN.1 order is C,ST,O,OU,CN; the list writes CN,OU,O,ST,C.
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "FR", _ASN1Type.PrintableString),
            x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "Isère (38)", _ASN1Type.BMPString),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "CHU  DE GRENOBLE", _ASN1Type.T61String),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "1380780080"),
            x509.NameAttribute(NameOID.COMMON_NAME, "mss.chu.fr ", _ASN1Type.UTF8String),
        ]
    )
    name = DistinguishedName.from_certificate(certificate(subject))
    assert name == parse('CN=mss.chu.fr,OU=1380780080,O="CHU  DE GRENOBLE",ST=Isère (38),C=FR')
    assert DistinguishedName.of_issuer(certificate(subject)) == parse("CN=AC")


def test_a_multi_valued_name_of_a_certificate_is_kept_apart() -> None:
    pair = [
        x509.NameAttribute(NameOID.COMMON_NAME, "a.fr"),
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "1"),
    ]
    country = x509.NameAttribute(NameOID.COUNTRY_NAME, "FR")
    joined = x509.Name(
        [x509.RelativeDistinguishedName([country]), *[x509.RelativeDistinguishedName(pair)]]
    )
    assert DistinguishedName.from_certificate(certificate(joined)) == parse("OU=1+CN=a.fr,C=FR")
    assert DistinguishedName.from_certificate(certificate(joined)) != parse("CN=a.fr,OU=1,C=FR")


def test_subjects_without_usable_name_are_invalid_and_still_labelled() -> None:
    empty = certificate(x509.Name([]))
    with pytest.raises(InvalidName, match="empty"):
        DistinguishedName.from_certificate(empty)
    assert label(empty) == "the certificate of serial number 1"
    bits = x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, b"\x00\x01", _ASN1Type.BitString)
    with pytest.raises(InvalidName, match=r"2\.5\.4\.45 of a certificate is not text"):
        DistinguishedName.from_certificate(certificate(x509.Name([bits])))


@pytest.mark.parametrize("tag", range(1, 28))
def test_a_subject_of_any_asn1_type_gives_a_name_or_invalid_name(tag: int) -> None:
    sound = certificate(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "abcd.fr")]))
    octets = sound.public_bytes(Encoding.DER).replace(b"\x0c\x07abcd", bytes([tag]) + b"\x07abcd")
    try:
        name = DistinguishedName.from_certificate(x509.load_der_x509_certificate(octets))
    except InvalidName:
        assert tag not in {12, 19, 20, 22}, "UTF8, printable, T61 and IA5 strings are text"
    else:
        assert name == parse("CN=abcd.fr")


VALUES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('"+,;<>\\#= \u00a0é'),
    min_size=1,
    max_size=16,
).filter(lambda value: value.strip() != "")
OIDS = {
    "CN": NameOID.COMMON_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "emailAddress": NameOID.EMAIL_ADDRESS,
}
ATTRIBUTES = st.lists(st.tuples(st.sampled_from(sorted(OIDS)), VALUES), min_size=1, max_size=6)


@given(ATTRIBUTES)
def test_writing_and_parsing_gives_the_same_name(pairs: list[tuple[str, str]]) -> None:
    name = DistinguishedName(tuple((pair,) for pair in pairs))
    again = parse(str(name))
    assert again == name
    assert str(again) == str(name)


@given(ATTRIBUTES)
def test_a_name_in_a_certificate_equals_its_text(pairs: list[tuple[str, str]]) -> None:
    # DOMAIN §9.9, through real DER. E-mail addresses are ASCII there.
    pairs = [
        (kind, "a@b.fr" if kind == "emailAddress" else value) for kind, value in pairs
    ]  # fmt: skip
    subject = x509.Name([x509.NameAttribute(OIDS[kind], value) for kind, value in reversed(pairs)])
    name = DistinguishedName.from_certificate(certificate(subject))
    assert name == DistinguishedName(tuple((pair,) for pair in pairs))
    assert name == parse(str(name))


@given(st.text() | st.from_regex(r"(CN|O|OU|FOO|1\.2)=[^,]*(,(CN|O)=.*)?"))
def test_nothing_but_invalid_name_is_raised(text: str) -> None:
    try:
        name = parse(text)
    except InvalidName:
        return
    assert parse(str(name)) == name


def real_spellings() -> list[str]:
    found = re.findall(
        r"<DNCertificatOperateur>(.*?)</DNCertificatOperateur>", real_octets().decode(), re.DOTALL
    )
    return sorted({text.replace("&amp;", "&") for text in found})


@needs_real_data
def test_the_391_real_spellings_are_383_names() -> None:
    spellings = real_spellings()
    assert len(spellings) == 391
    assert len({parse(text) for text in spellings}) == 383


@needs_real_data
def test_the_real_twins_are_those_measured() -> None:
    # DOMAIN §2.3: 15 common names in several spellings; 7 of them become equal, 8 stay different.
    # The eighth merge is a name with a single CN in three spellings.
    spellings: dict[str, list[str]] = {}
    for text in real_spellings():
        common_name = parse(text).common_name
        assert common_name is not None
        spellings.setdefault(common_name, []).append(text)
    several = {cn: texts for cn, texts in spellings.items() if len(texts) > 1}
    names = {cn: {parse(text) for text in texts} for cn, texts in several.items()}
    assert len(several) == 15
    together = {cn for cn, parsed in names.items() if len(parsed) == 1}
    assert len(together) == 7
    assert "mailin.interop-mssante.apicrypt.org" in together
    assert sum(any('"' in text for text in several[cn]) for cn in together) == 6
    apart = set(several) - together
    assert {"smtp-1.sesan.santnet.com", "smtp-2.sesan.santnet.com"} <= apart
    assert {"smtp-1.mssante.adista.fr", "smtp-2.mssante.adista.fr"} <= apart
    assert {"smtpmss.sante-ra.fr", "mssante.ch-ouestguyane.fr"} <= apart
