"""Why a white list, a trust file or a name is refused, or nothing could be fetched.

Every refusal has one machine-readable reason, which the command line, the metrics and the tests
rely on, and one line that says what is wrong, where, and what to do about it.
"""

from enum import StrEnum
from pathlib import Path


class Reason(StrEnum):
    """Why a white list was refused; one value per distinct failure (DOMAIN §9.1-9.6, §9.12)."""

    UNREADABLE = "unreadable"
    TOO_LARGE = "too-large"
    TOO_SLOW = "too-slow"
    NOT_WELL_FORMED = "not-well-formed"
    DTD_FORBIDDEN = "dtd-forbidden"
    UNSIGNED = "unsigned"
    SEVERAL_SIGNATURES = "several-signatures"
    SIGNATURE_SHAPE = "signature-shape"
    ALGORITHM = "algorithm"
    SIGNER_UNREADABLE = "signer-unreadable"
    SIGNER_UNTRUSTED = "signer-untrusted"
    SIGNER_EXPIRED = "signer-expired"
    SIGNER_NOT_YET_VALID = "signer-not-yet-valid"
    SIGNER_WEAK = "signer-weak"
    SIGNER_REVOKED = "signer-revoked"
    SIGNER_NO_CRL = "signer-no-crl"
    SIGNER_NOT_END_ENTITY = "signer-not-end-entity"
    SIGNER_ISSUER = "signer-issuer"
    SIGNER_KEY_USAGE = "signer-key-usage"
    SIGNER_NOT_CONFIGURED = "signer-not-configured"
    SIGNER_POLICY = "signer-policy"
    SIGNATURE_INVALID = "signature-invalid"
    CONTENT_ALTERED = "content-altered"
    WRONG_SCHEMA = "wrong-schema"
    UNREACHABLE = "unreachable"
    FUTURE = "future-date"
    ROLLBACK = "rollback"
    SHRUNK = "shrunk"
    RECERTIFIED = "recertified"


MAX_DETAIL = 2000
"""Longest detail of an error, in characters."""


class ListRefused(Exception):
    """A white list that must not be used; the previous one stays in force (DOMAIN §2.6).

    `reason` is for machines, `detail` is one line for the person who has to act.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        # What libraries and files say may have line ends, and be of any length.
        self.detail = " ".join(detail.split())[:MAX_DETAIL]
        super().__init__(f"{self.reason}: {self.detail}")


class FetchFailed(Exception):
    """Octets that could not be fetched: no answer, no usable one, or (`too_large`) too many octets.

    `detail` is one line that names URL and cause, for the person who has to act.
    """

    def __init__(self, detail: str, *, too_large: bool = False) -> None:
        # Servers and libraries may say lines, and any number of them.
        self.detail = " ".join(detail.split())[:MAX_DETAIL]
        self.too_large = too_large
        super().__init__(self.detail)


class ArchiveError(Exception):
    """The kept lists cannot be read or written, or none is meant; says which, why and the fix."""


class NothingAdopted(ArchiveError):
    """No list was ever adopted: so it is with every new store, until its first check."""


class TrustFileError(Exception):
    """A certificate or key file that cannot serve; the message names the file and the fix."""

    def __init__(self, path: Path, problem: str, fix: str) -> None:
        super().__init__(f"{path}: {problem}; {fix}")
        self.path = path


class CrlReason(StrEnum):
    """Why a certificate revocation list was refused (DOMAIN §9.62)."""

    UNREADABLE = "unreadable"
    DELTA_OR_PARTIAL = "delta-or-partial"
    UNKNOWN_ISSUER = "unknown-issuer"
    BAD_SIGNATURE = "bad-signature"
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    OLDER_THAN_KEPT = "older-than-kept"


class CrlRefused(Exception):
    """A revocation list that must not be used; the one kept before stays in force.

    `reason` is for machines, `detail` is one line for the person who has to act.
    """

    def __init__(self, reason: CrlReason, detail: str) -> None:
        self.reason = reason
        self.detail = " ".join(detail.split())
        super().__init__(f"{self.reason}: {self.detail}")


class OcspReason(StrEnum):
    """Why an OCSP response says nothing about the certificate asked for (RFC 6960 §3.2)."""

    UNREADABLE = "unreadable"
    UNSUCCESSFUL = "unsuccessful"
    WRONG_SIGNER = "wrong-signer"
    OTHER_CERTIFICATE = "other-certificate"
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"


class OcspRefused(Exception):
    """An OCSP response that must not be used; `reason` and `detail` as in CrlRefused."""

    def __init__(self, reason: OcspReason, detail: str) -> None:
        self.reason = reason
        self.detail = " ".join(detail.split())
        super().__init__(f"{self.reason}: {self.detail}")


class InvalidName(ValueError):
    """A text or a certificate subject that is not a usable distinguished name (RFC 4514)."""
