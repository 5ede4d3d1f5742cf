"""Reading certificates: whatever is wrong with the octets is a ValueError.

The library raises an exception of its own, outside that family, for a certificate of an unknown
version (found by fuzzing); callers meet one kind.
"""

import warnings
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

# Said on standard error of certificates that anybody may show: odd ones are judged, not remarked.
for _said in ("Attribute's length must be", "Parsed a serial number"):
    warnings.filterwarnings("ignore", message=_said)

MAX_DER: Final = 32 * 1024
"""Largest certificate that is read, in octets; those of IGC-Santé have two thousand."""


def read_der(octets: bytes) -> x509.Certificate:
    """Read one certificate as TLS and XML carry it.  Raises ValueError."""
    if len(octets) > MAX_DER:
        raise ValueError(f"a certificate of {len(octets)} octets is larger than {MAX_DER}")
    try:
        return x509.load_der_x509_certificate(octets)
    except x509.InvalidVersion as error:
        raise ValueError(str(error)) from error


def read_pem(octets: bytes) -> list[x509.Certificate]:
    """Read the certificates of a PEM file, at least one.  Raises ValueError."""
    try:
        return x509.load_pem_x509_certificates(octets)
    except x509.InvalidVersion as error:
        raise ValueError(str(error)) from error


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Say whether `certificate` bears the name and the signature of `issuer`."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False
    return True
