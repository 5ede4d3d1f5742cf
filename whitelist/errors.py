"""Why a white list, a trust file or a name is refused.

Every refusal has one machine-readable reason, which the command line, the metrics and the tests
rely on, and one line that says what is wrong, where, and what to do about it.
"""

from enum import StrEnum
from pathlib import Path


class Reason(StrEnum):
    """Why a white list was refused; one value per distinct failure (DOMAIN §9.2-9.5)."""

    UNREADABLE = "unreadable"
    TOO_LARGE = "too-large"
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
    SIGNER_KEY_USAGE = "signer-key-usage"
    SIGNER_NOT_CONFIGURED = "signer-not-configured"
    SIGNATURE_INVALID = "signature-invalid"
    CONTENT_ALTERED = "content-altered"
    WRONG_SCHEMA = "wrong-schema"


class ListRefused(Exception):
    """A white list that must not be used; the previous one stays in force (DOMAIN §2.6).

    `reason` is for machines, `detail` is one line for the person who has to act.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        self.detail = " ".join(detail.split())  # what libraries and files say may have line ends
        super().__init__(f"{self.reason}: {self.detail}")


class TrustFileError(Exception):
    """A certificate or key file that cannot serve; the message names the file and the fix."""

    def __init__(self, path: Path, problem: str, fix: str) -> None:
        super().__init__(f"{path}: {problem}; {fix}")
        self.path = path


class InvalidName(ValueError):
    """A text or a certificate subject that is not a usable distinguished name (RFC 4514)."""
