"""Signer of the list: an end entity, by its exact name, below the configured intermediate."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from mssante_operator.setup.testbed.certificate_profile import (
    LIST_SIGNER,
    Lifetime,
    Subject,
    key_usage,
)
from mssante_operator.setup.testbed.credential import Credential
from tests.support.lists.hierarchy import (
    NOW,
    SIGNER,
    hierarchy,
    list_signer,
    listed,
    signed_list,
    spare_key,
    trust,
)
from tests.support.lists.real import needs_real_data, real_octets, real_trust
from whitelist.errors import ListReason, ListRefused
from whitelist.national.reader import read_list
from whitelist.national.signer import ExpectedSigner
from whitelist.pki.distinguished_name import DistinguishedName
from whitelist.pki.trust_store import TrustStore

ENTRIES = [listed("a.mssante.fr", "CN=relay.a.fr,O=A,C=FR")]
NAME = DistinguishedName.from_certificate(list_signer().certificate)
PRODUCT = "1.2.250.1.213.1.7.1.1.2.3.1"  # SERV S/MIME, DOMAIN U0


def refused(
    signer: Credential, expected: str | ExpectedSigner = SIGNER, judge: TrustStore | None = None
) -> ListRefused:
    with pytest.raises(ListRefused) as caught:
        read_list(signed_list(ENTRIES, signer=signer), judge or trust(), expected, NOW)
    return caught.value


def named(common_name: str) -> Credential:
    """A certificate of the issuing authority with this common name."""
    subject = Subject(common_name, LIST_SIGNER.identifier, LIST_SIGNER.organization, "Paris (75)")
    return hierarchy().issue_list_signer(Lifetime.of_leaf(NOW), subject=subject, key=spare_key())


def issued(by: Credential, *, authority: bool) -> Credential:
    """The expected name in a certificate of another kind, or of another issuer."""
    key = spare_key()
    usages = ("digital_signature", "key_cert_sign") if authority else ("digital_signature",)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(LIST_SIGNER.x509_name)
        .issuer_name(by.certificate.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key()), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(key_usage(*usages), critical=True)
        .sign(by.key, hashes.SHA256())
    )
    return Credential(certificate, key)


@pytest.mark.parametrize(
    "common_name",
    [
        "alb.m\u017fsante.fr",  # U+017F folds to s
        "alb.mssante.fr\n",
        "alb.mssante.fr ",
        " alb.mssante.fr",
        "alb.mssante.fr\u00a0",
        "ALB.mssante.fr",
        "alb.mssante.fr.",
        "alb\u200b.mssante.fr",
    ],
)
def test_the_common_name_is_compared_letter_by_letter(common_name: str) -> None:
    error = refused(named(common_name))
    assert error.reason is ListReason.SIGNER_NOT_CONFIGURED
    assert "in these very letters" in error.detail


def test_several_common_names_are_none() -> None:
    subject = x509.Name(
        [*LIST_SIGNER.x509_name, x509.NameAttribute(NameOID.COMMON_NAME, "alb.mssante.fr")]
    )
    signer = hierarchy().issue_list_signer(Lifetime.of_leaf(NOW), subject=subject, key=spare_key())
    assert refused(signer).reason is ListReason.SIGNER_NOT_CONFIGURED


def test_an_authority_may_not_sign_and_an_anchor_may_not_issue() -> None:
    root = hierarchy().root
    assert refused(issued(root, authority=True)).reason is ListReason.SIGNER_NOT_END_ENTITY
    assert refused(issued(root, authority=False)).reason is ListReason.SIGNER_ISSUER


def test_without_intermediates_the_anchor_issues() -> None:
    alone = TrustStore((hierarchy().root.certificate,), ())
    data = signed_list(ENTRIES, signer=issued(hierarchy().root, authority=False))
    assert read_list(data, alone, SIGNER, NOW).domains == 1


def test_the_whole_name_can_be_pinned() -> None:
    data = signed_list(ENTRIES)
    assert read_list(data, trust(), ExpectedSigner(SIGNER, NAME), NOW).domains == 1
    other = DistinguishedName.parse(str(NAME).replace("CAPGEMINI", "UNE AUTRE"))
    error = refused(list_signer(), ExpectedSigner(SIGNER, other))
    assert error.reason is ListReason.SIGNER_NOT_CONFIGURED
    assert "whitelist.signer_dn" in error.detail


def test_a_whole_name_of_another_common_name_is_refused_when_configured() -> None:
    with pytest.raises(ValueError, match=r"CN=b\.fr, but signer is alb"):
        ExpectedSigner(SIGNER, DistinguishedName.parse("CN=b.fr,C=FR"))


def test_the_product_is_compared_where_configured() -> None:
    data = signed_list(ENTRIES)
    assert read_list(data, trust(), ExpectedSigner(SIGNER, policy=PRODUCT), NOW).domains == 1
    ssl = ExpectedSigner(SIGNER, policy="1.2.250.1.213.1.7.1.1.2.5.1")
    error = refused(list_signer(), ssl)
    assert error.reason is ListReason.SIGNER_POLICY
    assert PRODUCT in error.detail


@pytest.mark.integration
@needs_real_data
def test_the_real_signer_has_name_and_product() -> None:
    expected = ExpectedSigner(
        "alb.mssante.fr",
        DistinguishedName.parse(
            "CN=alb.mssante.fr,OU=347976684200724,O=CAPGEMINI TECHNOLOGY SERVICES,"
            "ST=Hauts-de-Seine (92),C=FR"
        ),
        PRODUCT,
    )
    at = list_signer().certificate.not_valid_before_utc.replace(year=2025, month=3, day=1)
    found = read_list(real_octets(), real_trust(), expected, at)
    # DOMAIN §9.7
    assert (found.domains, found.dn_strings, found.names) == (4944, 391, 383)
