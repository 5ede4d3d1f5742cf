"""Fitness of a certificate beyond its chain: strength, and use for mail between operators.

Pure, and the only place for these rules. TLS accepts every certificate, so that SMTP can tell a
peer the reason of its refusal, and `whitelist explain` says the same (docs/decisions/0041).
"""

from collections.abc import Iterable

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from whitelist.pki.distinguished_name import label

MIN_RSA_BITS = 2048
MIN_CURVE_BITS = 256
_MIN_DIGEST = 32  # octets: SHA-256 and above
_SERVES = frozenset(
    {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    }
)
_UNREADABLE = (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension)


def weakness(certificate: x509.Certificate, *, anchor: bool = False) -> str:
    """Return the reason why a certificate is weak; '' if it is not.

    Accepted keys: RSA from 2048 bits, curves from 256 bits, Ed25519 and Ed448. Accepted signatures:
    SHA-256 or better (ANSSI-PA-079). An anchor's own signature proves nothing and is not checked.
    """
    found = _weak_key(certificate) or ("" if anchor else _weak_signature(certificate))
    return f"{label(certificate)}: {found}" if found else ""


def unfitness(certificate: x509.Certificate) -> str:
    """Return the reason why a certificate is unfit for mail between operators; '' if it is fit.

    An extended key usage must name serverAuth or clientAuth. Either is enough: the product is SERV
    SSL, and IGC-Santé may stop giving it clientAuth (DOMAIN U0). A key usage must allow signatures,
    by which TLS proves possession of the key.
    """
    try:
        extensions = certificate.extensions
    except _UNREADABLE as error:
        return f"its extensions cannot be read: {error}"
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.ExtendedKeyUsage) and _SERVES.isdisjoint(value):
            return f"its extended key usage is {_written(value)}, neither serverAuth nor clientAuth"
        if isinstance(value, x509.KeyUsage) and not value.digital_signature:
            return "its key usage does not allow digital signatures, which TLS needs"
    return ""


def lacks_client_auth(certificate: x509.Certificate) -> bool:
    """True if an extended key usage names serverAuth alone: tolerated, but logged."""
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, *_UNREADABLE):
        return False
    return _SERVES.difference([ExtendedKeyUsageOID.SERVER_AUTH]).isdisjoint(usages)


def _weak_key(certificate: x509.Certificate) -> str:
    try:
        key = certificate.public_key()
    except _UNREADABLE as error:
        return f"its key cannot be used ({error})"
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        return f"its RSA key has {key.key_size} bits, fewer than {MIN_RSA_BITS}"
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size < MIN_CURVE_BITS:
        return f"its curve has {key.key_size} bits, fewer than {MIN_CURVE_BITS}"
    known = (
        rsa.RSAPublicKey,
        ec.EllipticCurvePublicKey,
        ed25519.Ed25519PublicKey,
        ed448.Ed448PublicKey,
    )
    return "" if isinstance(key, known) else "its key is of a kind that is not accepted"


def _weak_signature(certificate: x509.Certificate) -> str:
    try:
        digest = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm as error:
        return f"its signature cannot be judged ({error})"
    if digest is not None and digest.digest_size < _MIN_DIGEST:  # None: Ed25519 has its own
        return f"it is signed with {digest.name.upper()}, weaker than SHA-256"
    return ""


def _written(usages: Iterable[x509.ObjectIdentifier]) -> str:
    return ", ".join(usage.dotted_string for usage in usages)[:200] or "empty"
