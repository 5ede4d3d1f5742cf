"""Acceptance of OCSP responses (RFC 6960 §3.2, §4.2.2.2; DOMAIN §9.62)."""

from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from mssante_operator.setup.testbed.ca import Hierarchy
from mssante_operator.setup.testbed.certificate_profile import Lifetime, authority_name
from mssante_operator.setup.testbed.credential import Credential
from tests.support.lists.hierarchy import NOW, hierarchy, server, spare_key
from tests.support.lists.ocsp_responder import ocsp_answer
from whitelist.errors import OcspReason, OcspRefused
from whitelist.pki.ocsp import OcspStatus, OcspVerdict, check_ocsp, ocsp_request

DAY = timedelta(days=1)
ROOT, INTERMEDIATE = hierarchy().root, hierarchy().intermediate
AUTHORITIES = (ROOT.certificate, INTERMEDIATE.certificate)
PEER = server("relay.a.fr").certificate
GOOD = ocsp.OCSPCertStatus.GOOD


def responder(
    issuer: Credential = INTERMEDIATE,
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.OCSP_SIGNING,
    lifetime: Lifetime | None = None,
) -> Credential:
    """A responder with the spare key, authorised by `issuer`."""
    lifetime = lifetime or Lifetime.of_leaf(NOW)
    key = spare_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(authority_name("OCSP"))
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(lifetime.not_before)
        .not_valid_after(lifetime.not_after)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .sign(issuer.key, hashes.SHA256())
    )
    return Credential(certificate, key)


def answer(
    signer: Credential = INTERMEDIATE,
    status: ocsp.OCSPCertStatus = GOOD,
    *,
    about: x509.Certificate = PEER,
    issuer: x509.Certificate = INTERMEDIATE.certificate,
    this_update: datetime = NOW - DAY,
    next_update: datetime | None = NOW + DAY,
    algorithm: hashes.HashAlgorithm | None = None,
    brought: x509.Certificate | None = None,
) -> bytes:
    return ocsp_answer(
        about,
        issuer,
        signer,
        NOW,
        status,
        this_update=this_update,
        next_update=next_update,
        algorithm=algorithm,
        brought=brought,
    )


def check(response: bytes, at: datetime = NOW) -> OcspVerdict:
    return check_ocsp(response, PEER, INTERMEDIATE.certificate, AUTHORITIES, at)


def refusal(response: bytes, at: datetime = NOW) -> OcspReason:
    with pytest.raises(OcspRefused) as caught:
        check(response, at)
    assert str(caught.value) == f"{caught.value.reason}: {caught.value.detail}"
    return caught.value.reason


def test_a_request_names_the_certificate_by_its_issuer() -> None:
    request = ocsp.load_der_ocsp_request(ocsp_request(PEER, INTERMEDIATE.certificate))
    assert request.serial_number == PEER.serial_number
    assert isinstance(request.hash_algorithm, hashes.SHA1)  # RFC 5019 §2.1.1
    identifier = INTERMEDIATE.certificate.extensions.get_extension_for_class(
        x509.SubjectKeyIdentifier
    )
    assert request.issuer_key_hash == identifier.value.digest


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (ocsp.OCSPCertStatus.GOOD, OcspStatus.GOOD),
        (ocsp.OCSPCertStatus.REVOKED, OcspStatus.REVOKED),
        (ocsp.OCSPCertStatus.UNKNOWN, OcspStatus.UNKNOWN),
    ],
)
@pytest.mark.parametrize("signer", [INTERMEDIATE, responder()], ids=["issuer", "delegated"])
def test_the_issuer_and_its_responder_are_believed(
    status: ocsp.OCSPCertStatus, expected: OcspStatus, signer: Credential
) -> None:
    found = check(answer(signer, status))
    assert found.status is expected
    assert found.until == NOW + DAY
    assert found.detail.startswith(f"{expected}: CN=relay.a.fr,")


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA512()])  # noqa: S303 # see RFC 5019
def test_the_responder_chooses_the_hash_that_names_the_issuer(
    algorithm: hashes.HashAlgorithm,
) -> None:
    assert check(answer(algorithm=algorithm)).status is OcspStatus.GOOD


@pytest.mark.parametrize(
    "signer",
    [
        Hierarchy.create(NOW).intermediate,
        responder(usage=ExtendedKeyUsageOID.SERVER_AUTH),
        server("relay.a.fr"),
        responder(issuer=ROOT),
        responder(issuer=Hierarchy.create(NOW).intermediate),
        responder(lifetime=Lifetime(NOW - 9 * DAY, NOW - DAY)),
        responder(lifetime=Lifetime(NOW + DAY, NOW + 9 * DAY)),
        ROOT,
    ],
    ids=[
        "other-key-of-that-name",
        "no-right",
        "a-server",
        "right-from-the-root",
        "right-from-others",
        "right-over",
        "right-to-come",
        "the-root",
    ],
)
def test_others_are_not_believed(signer: Credential) -> None:
    assert refusal(answer(signer)) is OcspReason.WRONG_SIGNER


def test_a_responder_brought_along_does_not_vouch_for_others() -> None:
    forged = answer(Hierarchy.create(NOW).root, brought=responder().certificate)
    assert refusal(forged) is OcspReason.WRONG_SIGNER


def test_an_answer_signed_with_sha1_is_not_believed() -> None:
    # cryptography does not sign with SHA-1, so the octets are altered and signed by hand.
    signer = responder()
    octets = answer(signer)
    weak = hashes.SHA1()  # noqa: S303 # its weakness is the point
    found = ocsp.load_der_ocsp_response(octets)
    sha256_with_rsa = bytes.fromhex("06092a864886f70d01010b")
    position = octets.index(sha256_with_rsa) + len(sha256_with_rsa) - 1
    octets = octets[:position] + b"\x05" + octets[position + 1 :]
    signature = signer.key.sign(found.tbs_response_bytes, padding.PKCS1v15(), weak)
    octets = octets.replace(found.signature, signature)
    altered = ocsp.load_der_ocsp_response(octets)
    assert isinstance(altered.signature_hash_algorithm, hashes.SHA1)
    public = signer.key.public_key()
    public.verify(altered.signature, altered.tbs_response_bytes, padding.PKCS1v15(), weak)
    assert refusal(octets) is OcspReason.WRONG_SIGNER


def test_an_answer_about_another_certificate_is_refused() -> None:
    other = server("relay.b.fr").certificate
    assert refusal(answer(about=other)) is OcspReason.OTHER_CERTIFICATE
    # The same serial number, of another issuer.
    about_root = answer(issuer=ROOT.certificate)
    assert refusal(about_root) is OcspReason.OTHER_CERTIFICATE


def test_an_answer_that_is_over_or_to_come_is_refused() -> None:
    response = answer()
    assert check(response, NOW + DAY - timedelta.resolution).status is OcspStatus.GOOD
    assert refusal(response, NOW + DAY) is OcspReason.EXPIRED
    brief = timedelta(minutes=5)  # tolerated clock difference
    assert check(response, NOW - DAY - brief).status is OcspStatus.GOOD
    assert refusal(response, NOW - DAY - brief - timedelta(seconds=1)) is OcspReason.NOT_YET_VALID


def test_an_answer_without_end_is_good_for_five_minutes() -> None:
    response = answer(this_update=NOW, next_update=None)
    assert check(response).until == NOW + timedelta(minutes=5)
    assert refusal(response, NOW + timedelta(minutes=5)) is OcspReason.EXPIRED


@pytest.mark.parametrize(
    "octets",
    [b"", b"<html>", answer()[:-1], ocsp_request(PEER, AUTHORITIES[1])],
    ids=["empty", "page", "der", "request"],
)
def test_what_is_no_answer_is_unreadable(octets: bytes) -> None:
    assert refusal(octets) is OcspReason.UNREADABLE


def test_an_unsuccessful_answer_is_no_answer() -> None:
    later = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    assert refusal(later.public_bytes(Encoding.DER)) is OcspReason.UNSUCCESSFUL


def test_the_issuer_must_be_ours_and_the_issuer() -> None:
    with pytest.raises(ValueError, match="no configured issuer"):
        check_ocsp(answer(), PEER, INTERMEDIATE.certificate, (ROOT.certificate,), NOW)
    with pytest.raises(ValueError, match="no configured issuer"):
        check_ocsp(answer(ROOT), PEER, ROOT.certificate, AUTHORITIES, NOW)


@pytest.mark.filterwarnings("ignore:Parsed a serial number", "ignore:Attribute's length must be")
@given(st.data())
def test_altered_octets_never_clear_a_revoked_certificate(data: st.DataObject) -> None:
    octets = bytearray(answer(responder(), ocsp.OCSPCertStatus.REVOKED))
    for _ in range(data.draw(st.integers(1, 3))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = check(bytes(octets))
    except OcspRefused:
        return
    assert found.status is OcspStatus.REVOKED  # the altered octets are not covered by the signature
