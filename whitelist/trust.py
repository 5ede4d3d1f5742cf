"""Trust in certificates: the IGC-Santé authorities of this operator, and what chains to them.

One store serves both questions of the trust space: is this peer's certificate from IGC-Santé, and
is that of the list's signer. A chain is built from the certificate through the *configured*
intermediates to the configured anchors (RFC 5280 §6), at a given instant, with OpenSSL's strict
checks. What a peer sends along is never used, so that other IGC-Santé ranges do not pass
(DOMAIN §3.2); no extended key usage is demanded (DOMAIN §9.4, §10).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto

from whitelist.authorities import read_authorities
from whitelist.names import DistinguishedName, label


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What the rules need of a certificate; `fingerprint` is SHA-256 in lower-case hexadecimal."""

    subject: DistinguishedName
    issuer: DistinguishedName
    serial: int
    fingerprint: str
    not_before: datetime
    not_after: datetime

    @classmethod
    def from_certificate(cls, certificate: x509.Certificate) -> Self:
        """Read the facts. Raises InvalidName if a name in the certificate is unusable."""
        return cls(
            subject=DistinguishedName.from_certificate(certificate),
            issuer=DistinguishedName.of_issuer(certificate),
            serial=certificate.serial_number,
            fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
        )

    @classmethod
    def from_der(cls, der: bytes) -> Self:
        """Read a certificate as TLS hands it over. Raises ValueError if it is not usable."""
        return cls.from_certificate(x509.load_der_x509_certificate(der))


class ChainStatus(StrEnum):
    """How a chain stands at an instant."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"


@dataclass(frozen=True, slots=True)
class ChainVerdict:
    """The answer of `TrustStore.verify`; `detail` is one line for logs and operators."""

    status: ChainStatus
    detail: str

    @property
    def trusted(self) -> bool:
        """Whether the chain holds."""
        return self.status is ChainStatus.TRUSTED


_STATUS_OF_ERROR = {
    SSL.X509VerificationCodes.ERR_CERT_HAS_EXPIRED: ChainStatus.EXPIRED,
    SSL.X509VerificationCodes.ERR_CERT_NOT_YET_VALID: ChainStatus.NOT_YET_VALID,
}


@dataclass(frozen=True, slots=True)
class TrustStore:
    """The authorities an operator trusts: root anchors, and intermediates that must chain to them.

    Raises ValueError without any anchor. Files are checked by `from_files`, which is what the
    daemon uses; the constructor serves certificates that are in memory already.
    """

    anchors: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...]
    _anchors: tuple[crypto.X509, ...] = field(init=False, repr=False, compare=False)
    _intermediates: tuple[crypto.X509, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.anchors:
            raise ValueError("no trust anchor: name at least one root certificate of IGC-Santé")
        anchors = tuple(map(crypto.X509.from_cryptography, self.anchors))
        intermediates = tuple(map(crypto.X509.from_cryptography, self.intermediates))
        object.__setattr__(self, "_anchors", anchors)
        object.__setattr__(self, "_intermediates", intermediates)

    @classmethod
    def from_files(cls, anchors: Sequence[Path], intermediates: Sequence[Path]) -> Self:
        """Read PEM files, each of one or more certificates.

        Raises TrustFileError as `authorities.read_authorities` does, and ValueError without any
        anchor file.
        """
        return cls(*read_authorities(anchors, intermediates))

    @property
    def pem(self) -> str:
        """All authorities as PEM text, for `ssl.SSLContext.load_verify_locations(cadata=...)`.

        A TLS handshake against these is a first sieve only, since it also accepts intermediates
        that the peer brings along: `verify` decides.
        """
        return "".join(
            certificate.public_bytes(Encoding.PEM).decode("ascii")
            for certificate in (*self.anchors, *self.intermediates)
        )

    def verify(self, certificate: x509.Certificate, at: datetime) -> ChainVerdict:
        """Say whether `certificate` chains to an anchor and every certificate is valid at `at`.

        `at` must be aware (ValueError if not). Never raises for any certificate.
        """
        if at.tzinfo is None:
            raise ValueError(f"the instant of verification {at} has no time zone")
        store = crypto.X509Store()
        for anchor in self._anchors:
            store.add_cert(anchor)
        store.set_time(at.astimezone(UTC))
        store.set_flags(crypto.X509StoreFlags.X509_STRICT)
        try:
            subject = crypto.X509.from_cryptography(certificate)
            crypto.X509StoreContext(store, subject, self._intermediates).verify_certificate()
        except crypto.X509StoreContextError as error:
            code, _, message = error.errors
            status = _STATUS_OF_ERROR.get(code, ChainStatus.UNTRUSTED)
            at_fault = label(error.certificate.to_cryptography())
            return ChainVerdict(status, f"{message}: {at_fault}, as of {at.isoformat()}")
        except crypto.Error as error:
            detail = f"OpenSSL cannot read the certificate: {error}"
            return ChainVerdict(ChainStatus.UNTRUSTED, detail)
        return ChainVerdict(ChainStatus.TRUSTED, f"{label(certificate)} chains to an anchor")
