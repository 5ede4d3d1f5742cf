"""PEM files of the authorities that an operator trusts, checked when they are read.

A wrong file would show months later as refused peers without visible cause. So each file is checked
at once: anchors are self-signed roots, each intermediate is issued below an anchor. Validity in
time is judged later, with each chain (`whitelist.pki.trust_store`).
"""

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from whitelist.errors import TrustFileError
from whitelist.pki.certificates import issued_by, read_pem
from whitelist.pki.distinguished_name import label

Certificates = tuple[x509.Certificate, ...]


def read_authorities(
    anchors: Sequence[Path], intermediates: Sequence[Path]
) -> tuple[Certificates, Certificates]:
    """Read PEM files, each of one or more certificates; return anchors and intermediates.

    Raises TrustFileError, naming the file and the fix, for a file that is missing or not PEM, a
    certificate that is not an authority, an anchor that is not self-signed, and an intermediate
    that leads to no anchor.
    """
    roots = [(path, certificate) for path in anchors for certificate in _load(path)]
    for path, certificate in roots:
        if not issued_by(certificate, certificate):
            raise TrustFileError(
                path,
                f"{label(certificate)} is not a self-signed root",
                "list it as an intermediate, and its root as the anchor",
            )
    helpers = [(path, certificate) for path in intermediates for certificate in _load(path)]
    known, waiting = [certificate for _, certificate in roots], helpers
    while waiting:
        reached = [pair for pair in waiting if any(issued_by(pair[1], above) for above in known)]
        if not reached:
            path, certificate = waiting[0]
            raise TrustFileError(
                path,
                f"{label(certificate)} was not issued by any configured anchor",
                "add the root that issued it to the anchors, or remove it",
            )
        known += [certificate for _, certificate in reached]
        waiting = [pair for pair in waiting if pair not in reached]
    return tuple(pair[1] for pair in roots), tuple(pair[1] for pair in helpers)


def _load(path: Path) -> list[x509.Certificate]:
    try:
        certificates = read_pem(path.read_bytes())
    except OSError as error:
        raise TrustFileError(
            path,
            f"cannot be read ({error.strerror})",
            "give the path of a PEM file that this user may read",
        ) from error
    except ValueError as error:
        raise TrustFileError(
            path,
            "holds no readable PEM certificate",
            "convert a DER file with: openssl x509 -inform der -in FILE -out FILE.pem",
        ) from error
    for certificate in certificates:
        if not _is_authority(certificate):
            raise TrustFileError(
                path,
                f"{label(certificate)} is not a certificate authority",
                "list only the certificates of IGC-Santé authorities",
            )
    return certificates


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (x509.ExtensionNotFound, ValueError):
        return False
    return constraints.value.ca
