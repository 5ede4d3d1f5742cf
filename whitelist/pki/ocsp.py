"""OCSP: the request about a certificate, and the check of the response.

An option beside revocation lists (RFC 6960; RFC 5019 for the request; DOMAIN §9.62). A response
counts if it is signed by the issuer of the certificate or by a responder that the issuer authorised
(RFC 6960 §4.2.2.2), is about this certificate, and is in date. Pure: octets and instant are
parameters. Requests have no nonce, since most responders sign in advance.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from whitelist.errors import OcspReason, OcspRefused
from whitelist.pki.certificates import issued_by
from whitelist.pki.distinguished_name import label
from whitelist.pki.extensions import UNREADABLE, extension_of

_BRIEF = timedelta(minutes=5)
"""Tolerated clock difference; also the validity of a response without nextUpdate."""


class OcspStatus(StrEnum):
    """The responder's statement about the certificate; `unknown` is no failure."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class OcspVerdict:
    """The answer of `check_ocsp`, valid before the aware instant `until`."""

    status: OcspStatus
    until: datetime
    detail: str


_STATUS = {
    ocsp.OCSPCertStatus.GOOD: OcspStatus.GOOD,
    ocsp.OCSPCertStatus.REVOKED: OcspStatus.REVOKED,
    ocsp.OCSPCertStatus.UNKNOWN: OcspStatus.UNKNOWN,
}


def ocsp_request(certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """Return the DER request to POST as `application/ocsp-request` (RFC 6960 appendix A)."""
    # RFC 5019 §2.1.1 allows no other hash; the hash names the issuer and protects nothing.
    return _asked(certificate, issuer, hashes.SHA1()).public_bytes(Encoding.DER)  # noqa: S303


def check_ocsp(
    response: bytes,
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    authorities: Sequence[x509.Certificate],
    at: datetime,
) -> OcspVerdict:
    """Check the DER `response` about `certificate`, issued by `issuer`, at the aware `at`.

    `issuer` must be in `authorities` and have issued `certificate`; else ValueError, a fault of the
    caller. A response without nextUpdate (a newer response is always available, RFC 6960 §4.2.2.1)
    is valid for five minutes. Revocation of a delegated responder is not checked. Raises
    OcspRefused with the first reason: `unreadable`, `unsuccessful`, `wrong-signer`,
    `other-certificate`, `not-yet-valid`, `expired`.
    """
    if issuer not in authorities or not issued_by(certificate, issuer):
        raise ValueError(f"{label(issuer)} is no configured issuer of {label(certificate)}")
    answer = _read(response)
    _require_signer(answer, issuer, at)
    single = _single(answer, certificate, issuer)
    until = single.next_update_utc or single.this_update_utc + _BRIEF
    span = f"the answer of {single.this_update_utc.isoformat()} until {until.isoformat()}"
    if at < single.this_update_utc - _BRIEF:
        raise OcspRefused(
            OcspReason.NOT_YET_VALID,
            f"{span} is from after {at.isoformat()}; check this machine's clock",
        )
    if at >= until:
        raise OcspRefused(
            OcspReason.EXPIRED, f"{span} is over at {at.isoformat()}; ask the responder again"
        )
    status = _STATUS[single.certificate_status]
    detail = f"{status}: {label(certificate)}, by {span}"
    return OcspVerdict(status, until, detail)


def _read(response: bytes) -> ocsp.OCSPResponse:
    try:
        answer = ocsp.load_der_ocsp_response(response)
    except ValueError as error:
        raise OcspRefused(
            OcspReason.UNREADABLE, f"no OCSP response: {error}; check the responder's URL"
        ) from error
    if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise OcspRefused(
            OcspReason.UNSUCCESSFUL,
            f"the responder answers {answer.response_status.name.lower()} and no more; "
            "ask again later",
        )
    return answer


def _require_signer(answer: ocsp.OCSPResponse, issuer: x509.Certificate, at: datetime) -> None:
    candidates = (issuer, *(one for one in _brought(answer) if _may_respond(one, issuer, at)))
    if not any(_signed(answer, candidate) for candidate in candidates):
        raise OcspRefused(
            OcspReason.WRONG_SIGNER,
            f"the answer was signed, with SHA-2, neither by {label(issuer)} nor by a responder in "
            "date that it gave the right to; check the responder's URL",
        )


def _brought(answer: ocsp.OCSPResponse) -> Iterator[x509.Certificate]:
    try:
        yield from answer.certificates
    except UNREADABLE:
        return


def _may_respond(responder: x509.Certificate, issuer: x509.Certificate, at: datetime) -> bool:
    """True if the issuer itself authorised the responder (RFC 6960 §4.2.2.2), in date."""
    try:
        usages = extension_of(responder.extensions, x509.ExtendedKeyUsage)
        in_date = responder.not_valid_before_utc <= at <= responder.not_valid_after_utc
    except UNREADABLE:
        return False
    allowed = usages is not None and ExtendedKeyUsageOID.OCSP_SIGNING in usages
    return in_date and allowed and issued_by(responder, issuer)


def _signed(answer: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    try:
        key, algorithm = signer.public_key(), answer.signature_hash_algorithm
        if not isinstance(algorithm, hashes.SHA256 | hashes.SHA384 | hashes.SHA512):
            return False
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(answer.signature, answer.tbs_response_bytes, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(algorithm))
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _single(
    answer: ocsp.OCSPResponse, certificate: x509.Certificate, issuer: x509.Certificate
) -> ocsp.OCSPSingleResponse:
    try:
        for single in answer.responses:
            asked = _asked(certificate, issuer, single.hash_algorithm)
            if (single.serial_number, single.issuer_name_hash, single.issuer_key_hash) == (
                asked.serial_number,
                asked.issuer_name_hash,
                asked.issuer_key_hash,
            ):
                return single
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise OcspRefused(
            OcspReason.UNREADABLE, f"the OCSP response cannot be processed: {error}"
        ) from error
    raise OcspRefused(
        OcspReason.OTHER_CERTIFICATE,
        f"the answer is not about {label(certificate)}; check the responder's URL",
    )


def _asked(
    certificate: x509.Certificate, issuer: x509.Certificate, algorithm: hashes.HashAlgorithm
) -> ocsp.OCSPRequest:
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, algorithm)
    return builder.build()
