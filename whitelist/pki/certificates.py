"""Reader of certificates: each fault of the octets is a ValueError.

For an unknown certificate version the library raises an exception outside that family (found by
fuzzing); callers only see ValueError.
"""

import warnings
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

# Library warnings on standard error: anybody may show odd certificates; they are judged elsewhere.
for _said in ("Attribute's length must be", "Parsed a serial number"):
    warnings.filterwarnings("ignore", message=_said)

MAX_DER: Final = 32 * 1024
"""Largest certificate that is read, in octets; certificates of IGC-Santé have two thousand."""


def read_der(octets: bytes) -> x509.Certificate:
    """Read a certificate in DER, as in TLS and XML. Raises ValueError."""
    if len(octets) > MAX_DER:
        raise ValueError(f"a certificate of {len(octets)} octets is larger than {MAX_DER}")
    try:
        return x509.load_der_x509_certificate(octets)
    except x509.InvalidVersion as error:
        raise ValueError(str(error)) from error


def read_pem(octets: bytes) -> list[x509.Certificate]:
    """Read the certificates of a PEM file, at least one. Raises ValueError."""
    try:
        return x509.load_pem_x509_certificates(octets)
    except x509.InvalidVersion as error:
        raise ValueError(str(error)) from error


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """True if `certificate` has the name and the signature of `issuer`."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False
    return True
