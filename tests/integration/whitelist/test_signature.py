"""Signer and signed content (DOMAIN §2.5, §9.3, §9.4); each hostile list has exactly one reason."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from mssante_operator.setup.testbed.ca import Hierarchy
from mssante_operator.setup.testbed.certificate_profile import (
    LIST_SIGNER,
    Lifetime,
    Subject,
    key_usage,
)
from mssante_operator.setup.testbed.credential import Credential
from tests.support.lists import forge
from tests.support.lists.hierarchy import (
    NOW,
    SIGNER,
    crls,
    hierarchy,
    list_signer,
    listed,
    server,
    signed_list,
    spare_key,
    trust,
)
from tests.support.lists.real import needs_real_data, real_octets, real_trust
from whitelist.errors import ListReason, ListRefused
from whitelist.national.signature import verify_signature
from whitelist.pki.crl import RevocationPolicy

ENTRIES = [listed("a.mssante.fr", "CN=relay.a.fr,O=A,C=FR")]
LIST = signed_list(ENTRIES)
SIGNATURE = LIST[LIST.index(b"<Signature") : LIST.index(b"</ListeBlanche")]
GENUINE = etree.tostring(verify_signature(LIST, trust(), SIGNER, NOW).root)
NS = {"l": "https://listeblanche.mssante.fr/schema"}


def refused(data: bytes, signer: str = SIGNER, at: datetime = NOW) -> ListReason:
    with pytest.raises(ListRefused) as caught:
        verify_signature(data, trust(), signer, at)
    assert "\n" not in caught.value.detail
    return caught.value.reason


def signed_by(signer: Credential) -> bytes:
    return signed_list(ENTRIES, signer=signer)


def certified(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey, usage: str) -> x509.Certificate:
    """A certificate with the expected signer's name, for any key and a key usage."""
    issuer = hierarchy().intermediate
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(LIST_SIGNER.x509_name)
        .issuer_name(issuer.certificate.subject)
        .public_key(key)
        .serial_number(7)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(identifier, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(key_usage(usage), critical=True)
        .sign(issuer.key, hashes.SHA256())
    )


def test_a_good_list_gives_its_signed_tree_and_signer() -> None:
    signed = verify_signature(LIST, trust(), SIGNER, NOW)
    assert signed.root.findtext("l:ListeDomaines/l:Domaine/l:Nom", None, NS) == "a.mssante.fr"
    assert signed.root.find("{*}Signature") is None
    assert signed.signer.serial == list_signer().certificate.serial_number
    assert signed.signer.subject.common_name == "alb.mssante.fr"
    # The forging tools below can make valid lists too, so their refusals prove something.
    signed = verify_signature(forge.placed(forge.signature()), trust(), SIGNER, NOW)
    assert signed.root.findtext("l:DateDeGeneration", None, NS) == "2026-11-22T12:00:00Z"


@needs_real_data
def test_the_real_list_is_accepted_while_its_signer_was_valid() -> None:
    signed = verify_signature(real_octets(), real_trust(), SIGNER, datetime(2025, 3, 1, tzinfo=UTC))
    assert signed.signer.serial == 0x79787C25AF79E162807E33110E08FA73


@needs_real_data
@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (datetime(2026, 11, 22, tzinfo=UTC), ListReason.SIGNER_EXPIRED),
        (datetime(2026, 8, 23, 13, 54, 24, tzinfo=UTC), ListReason.SIGNER_EXPIRED),
        (datetime(2023, 8, 23, 13, 54, 22, tzinfo=UTC), ListReason.SIGNER_NOT_YET_VALID),
    ],
)
def test_the_real_list_outside_its_signers_validity(at: datetime, reason: ListReason) -> None:
    with pytest.raises(ListRefused) as caught:
        verify_signature(real_octets(), real_trust(), SIGNER, at)
    assert caught.value.reason is reason


@needs_real_data
def test_the_real_list_with_one_byte_changed_is_refused() -> None:
    # DOMAIN §9.3. Positions in texts of elements, spread over the whole signed part.
    data = real_octets()
    for place in range(1000, data.index(b"<Signature") - 5000, 400_000):
        start = data.index(b"<Nom>", place) + 5
        changed = bytearray(data)
        changed[start] ^= 0x01
        with pytest.raises(ListRefused) as caught:
            verify_signature(bytes(changed), real_trust(), SIGNER, datetime(2025, 3, 1, tzinfo=UTC))
        assert caught.value.reason is ListReason.CONTENT_ALTERED


@needs_real_data
def test_the_real_list_is_nothing_to_the_test_authorities_and_conversely() -> None:
    assert (
        refused(real_octets(), at=datetime(2025, 3, 1, tzinfo=UTC)) is ListReason.SIGNER_UNTRUSTED
    )
    with pytest.raises(ListRefused, match="signer-untrusted"):
        verify_signature(LIST, real_trust(), SIGNER, NOW)


def test_every_single_byte_of_the_signed_part_counts() -> None:
    start, end = LIST.index(b"<Liste"), LIST.index(b"<Signature")
    for position in range(start, end):
        changed = bytearray(LIST)
        changed[position] ^= 0x01
        try:
            etree.fromstring(bytes(changed))
        except etree.XMLSyntaxError:
            assert refused(bytes(changed)) is ListReason.NOT_WELL_FORMED, position
        else:
            assert refused(bytes(changed)) is ListReason.CONTENT_ALTERED, position


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"relay.a.fr", b"relay.b.fr"),
        (b"</ListeDomaines>", b"</ListeDomaines> "),
        (b"</ListeDomaines>", b"<Domaine/></ListeDomaines>"),
        (b"<Domaine>", b'<Domaine x="y">'),
        (b"</Nom>", b"<?evil?></Nom>"),
        (b"</Signature>", b"</Signature>\n"),
    ],
)
def test_anything_added_or_changed_is_an_alteration(old: bytes, new: bytes) -> None:
    assert refused(LIST.replace(old, new, 1)) is ListReason.CONTENT_ALTERED


def test_text_after_the_signature_is_refused() -> None:
    assert refused(LIST.replace(b"</Signature>", b"</Signature>x")) is ListReason.SIGNATURE_SHAPE


def test_comments_are_not_signed_and_change_nothing() -> None:
    # Canonicalisation drops comments; they must not cut a text in two, as once in SAML.
    data = LIST.replace(b"a.mssante.fr</Nom>", b"a<!-- x -->.mssante.fr<!-- --></Nom>")
    assert data != LIST
    root = verify_signature(data, trust(), SIGNER, NOW).root
    name = root.find("l:ListeDomaines/l:Domaine/l:Nom", NS)
    assert name is not None
    assert name.text == "a.mssante.fr"


def test_a_signature_moved_onto_a_wrapped_list() -> None:
    # The genuine root inside a forged root, with the genuine signature in its place.
    genuine = LIST[LIST.index(b"<Liste") :].replace(SIGNATURE, b"")
    forged = genuine.replace(b"relay.a.fr", b"relay.evil.fr")
    wrapped = forged.replace(b"</ListeDomaines>", b"</ListeDomaines>" + genuine + SIGNATURE)
    assert refused(wrapped) is ListReason.CONTENT_ALTERED


def test_a_signature_of_another_list() -> None:
    other = signed_list([listed("b.mssante.fr", "CN=relay.b.fr,O=B,C=FR")])
    assert refused(other[: other.index(b"<Signature")] + SIGNATURE + b"</ListeBlancheMSSante>") is (
        ListReason.CONTENT_ALTERED
    )


@pytest.mark.parametrize("element", [b"<DigestValue>", b"<SignatureValue>"])
def test_a_value_of_the_signature_changed(element: bytes) -> None:
    start = LIST.index(element) + len(element)
    swapped = b"B" if LIST[start : start + 1] == b"A" else b"A"
    assert refused(LIST[:start] + swapped + LIST[start + 1 :]) is ListReason.SIGNATURE_INVALID


def test_another_certificate_in_place_of_the_signers() -> None:
    twin = hierarchy().issue_list_signer(Lifetime.of_leaf(NOW), key=spare_key())
    information = forge.key_info(forge.certificate_text(twin))
    forged = forge.placed(forge.signature(key_information=information))
    assert refused(forged) is ListReason.SIGNATURE_INVALID


@pytest.mark.parametrize("text", ["AAAA", "TUlJ"])
def test_a_certificate_that_is_none(text: str) -> None:
    forged = forge.placed(forge.signature(key_information=forge.key_info(text)))
    assert refused(forged) is ListReason.SIGNER_UNREADABLE


def test_a_signer_without_subject() -> None:
    nobody = hierarchy().issue_list_signer(
        Lifetime.of_leaf(NOW), subject=x509.Name([]), key=spare_key()
    )
    assert refused(signed_by(nobody)) is ListReason.SIGNER_UNREADABLE


def test_any_other_certificate_of_the_same_authority_may_not_sign() -> None:
    # DOMAIN §2.5: otherwise every operator could publish a list.
    assert refused(signed_by(server("relay.evil.fr"))) is ListReason.SIGNER_NOT_CONFIGURED
    assert refused(LIST, signer="other.mssante.fr") is ListReason.SIGNER_NOT_CONFIGURED


@pytest.mark.parametrize(
    "common_names",
    [
        ["alb.mssante.fr", "evil.fr"],
        ["evil.fr", "alb.mssante.fr"],
        ["alb.mssante.fr.evil.fr"],
        ["xalb.mssante.fr"],
        ["alb.mssante.fr\x00.evil.fr"],
        ["\u0430lb.mssante.fr"],
        [],
    ],
)
def test_subjects_that_merely_look_like_the_signer(common_names: list[str]) -> None:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "alb.mssante.fr")]
    attributes += [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common_names]
    impostor = hierarchy().issue_list_signer(
        Lifetime.of_leaf(NOW), subject=x509.Name(attributes), key=spare_key()
    )
    assert refused(signed_by(impostor)) is ListReason.SIGNER_NOT_CONFIGURED


def test_a_self_made_hierarchy_of_the_same_names() -> None:
    theirs = Hierarchy.create(NOW)
    assert theirs.root.certificate.subject == hierarchy().root.certificate.subject
    forged = signed_by(theirs.issue_list_signer(Lifetime.of_leaf(NOW)))
    assert refused(forged) is ListReason.SIGNER_UNTRUSTED
    self_signed = Credential(theirs.root.certificate, theirs.root.key)
    assert refused(signed_by(self_signed)) is ListReason.SIGNER_UNTRUSTED


def test_a_leaf_is_no_authority() -> None:
    # A server's key signs a certificate with the signer's name: the classic missing check.
    middle = server("relay.a.fr")
    forged = Hierarchy(hierarchy().root, middle).issue_list_signer(
        Lifetime.of_leaf(NOW), key=spare_key()
    )
    assert refused(signed_by(forged)) is ListReason.SIGNER_UNTRUSTED


@pytest.mark.parametrize(
    ("days", "reason"), [(-1000, ListReason.SIGNER_EXPIRED), (2, ListReason.SIGNER_NOT_YET_VALID)]
)
def test_a_signer_outside_its_validity(days: int, reason: ListReason) -> None:
    start = NOW + timedelta(days=days)
    signer = hierarchy().issue_list_signer(
        Lifetime(start, start + timedelta(days=365)), key=spare_key()
    )
    assert refused(signed_by(signer)) is reason


def test_an_expired_stranger_is_refused_as_expired_and_an_expired_forgery_as_untrusted() -> None:
    past = Lifetime(NOW - timedelta(days=900), NOW - timedelta(days=800))
    theirs = Hierarchy.create(NOW).issue_list_signer(past, key=spare_key())
    assert refused(signed_by(theirs)) is ListReason.SIGNER_UNTRUSTED
    stranger = Subject("x.fr", "1", "X", "Paris (75)")
    ours = hierarchy().issue_list_signer(past, subject=stranger, key=spare_key())
    assert refused(signed_by(ours)) is ListReason.SIGNER_EXPIRED


def test_a_certificate_for_encryption_may_not_sign() -> None:
    key = spare_key()
    signer = Credential(certified(key.public_key(), "key_encipherment"), key)
    assert refused(signed_by(signer)) is ListReason.SIGNER_KEY_USAGE
    signer = Credential(certified(key.public_key(), "content_commitment"), key)
    assert verify_signature(signed_by(signer), trust(), SIGNER, NOW).signer.serial == 7


def test_a_signer_with_another_kind_of_key() -> None:
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505  what is tested
    elliptic = ec.generate_private_key(ec.SECP256R1())
    for key, reason in (
        (short.public_key(), ListReason.SIGNER_WEAK),
        (elliptic.public_key(), ListReason.ALGORITHM),
    ):
        other = Credential(certified(key, "digital_signature"), spare_key())
        assert refused(signed_by(other)) is reason


@pytest.mark.filterwarnings("ignore:Parsed a serial number", "ignore:Attribute's length must be")
@given(st.data())
def test_a_damaged_list_is_refused_or_says_the_same(data: st.DataObject) -> None:
    octets = bytearray(LIST)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(octets) - 1))
        damage = st.binary(max_size=2) | st.sampled_from([b"<!-- -->", b"<?x?>", b"&#0;", b"&amp;"])
        octets[start : start + data.draw(st.integers(0, 2))] = data.draw(damage)
    try:
        signed = verify_signature(bytes(octets), trust(), SIGNER, NOW)
    except ListRefused:
        return
    assert etree.tostring(signed.root) == GENUINE


def test_a_signer_whose_standing_cannot_be_told_or_who_was_revoked() -> None:
    # DOMAIN §9.4, §9.62
    strict = dataclasses.replace(trust(), revocation=RevocationPolicy.REFUSE)
    data = signed_list([listed("b.mssante.fr", "CN=a,C=FR")])
    for found, reason in (
        (strict, ListReason.SIGNER_NO_CRL),
        (strict.with_crls(crls(list_signer())), ListReason.SIGNER_REVOKED),
    ):
        with pytest.raises(ListRefused) as refused:
            verify_signature(data, found, SIGNER, NOW)
        assert refused.value.reason is reason
    assert verify_signature(data, strict.with_crls(crls()), SIGNER, NOW).signer.serial
