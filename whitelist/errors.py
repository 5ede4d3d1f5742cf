"""Errors: refused white lists, trust files, CRLs, OCSP responses and names; failed fetches.

Each refusal has a machine-readable reason, on which the command line, the metrics and the tests
rely, and a line of text that says what is wrong, where, and what to do.
"""

from enum import StrEnum
from pathlib import Path


class ListReason(StrEnum):
    """Reason why a white list was refused, a value for each failure (DOMAIN §9.1-9.6, §9.12)."""

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
    """A white list that must not be used; the list in force stays in force (DOMAIN §2.6).

    `reason` is for machines, `detail` is a line for the person who has to act.
    """

    def __init__(self, reason: ListReason, detail: str) -> None:
        self.reason = reason
        # Messages of libraries and texts of files may have line ends and any length.
        self.detail = " ".join(detail.split())[:MAX_DETAIL]
        super().__init__(f"{self.reason}: {self.detail}")


class FetchFailed(Exception):
    """Octets that could not be fetched: no answer, a useless answer, or too many (`too_large`).

    `detail` is a line with URL and cause, for the person who has to act.
    """

    def __init__(self, detail: str, *, too_large: bool = False) -> None:
        # Messages of servers and libraries may have several lines and any length.
        self.detail = " ".join(detail.split())[:MAX_DETAIL]
        self.too_large = too_large
        super().__init__(self.detail)


class ArchiveError(Exception):
    """Failure of the archive: unreadable, unwritable, or no matching list; with cause and fix."""


class NothingAdopted(ArchiveError):
    """No list was ever adopted: the state of each new store until its first check."""


class TrustFileError(Exception):
    """A certificate or key file that cannot be used; the message names the file and the fix."""

    def __init__(self, path: Path, problem: str, fix: str) -> None:
        super().__init__(f"{path}: {problem}; {fix}")
        self.path = path


class CrlReason(StrEnum):
    """Reason why a certificate revocation list was refused (DOMAIN §9.62)."""

    UNREADABLE = "unreadable"
    DELTA_OR_PARTIAL = "delta-or-partial"
    UNKNOWN_ISSUER = "unknown-issuer"
    BAD_SIGNATURE = "bad-signature"
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    OLDER_THAN_KEPT = "older-than-kept"


class CrlRefused(Exception):
    """A revocation list that must not be used; the list kept before stays in force.

    `reason` is for machines, `detail` is a line for the person who has to act.
    """

    def __init__(self, reason: CrlReason, detail: str) -> None:
        self.reason = reason
        self.detail = " ".join(detail.split())
        super().__init__(f"{self.reason}: {self.detail}")


class OcspReason(StrEnum):
    """Reason why an OCSP response proves nothing about the certificate (RFC 6960 §3.2)."""

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
