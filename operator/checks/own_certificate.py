"""Check whether peers will accept our certificate.  Pure: certificates and time are arguments."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from whitelist.pki.certificates import issued_by
from whitelist.pki.trust_store import ChainStatus, TrustStore

EXPIRES_SOON: Final = timedelta(days=60)  # same as the first stage of the alarm


def doubts(
    chain: Sequence[x509.Certificate], trust: TrustStore, hostname: str, now: datetime
) -> Iterator[str]:
    """Reasons why peers may refuse our certificate; none if it is in order.

    `chain`: our certificate, then the other certificates of its file.  Missing revocation lists
    are reported by another check.
    """
    own = chain[0]
    if own.issuer == own.subject:
        yield "self-signed certificate: peers refuse it; use the certificate from IGC-Santé"
        return
    verdict = trust.verify(own, now)
    if verdict.status not in {ChainStatus.TRUSTED, ChainStatus.NO_CRL}:
        yield f"certificate refused by peers: {verdict.detail}"
    elif own.not_valid_after_utc - now <= EXPIRES_SOON:
        yield f"certificate expires on {own.not_valid_after_utc.isoformat()}; renew it"
    if len(chain) == 1 and not any(issued_by(own, anchor) for anchor in trust.anchors):
        yield (
            "intermediate certificate missing in this file: some peers will refuse us; "
            "append it: cat INTERMEDIATE.pem >> this file"
        )
    names = _names(own)
    if not any(_covers(name, hostname) for name in names):
        shown = ", ".join(names) or "no host name"
        yield f"certificate for {shown}, not for operator.hostname ({hostname}); correct that key"


def _names(certificate: x509.Certificate) -> list[str]:
    """Host names of a certificate: its DNS alternative names, else its common name."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        found = extension.value.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        found = []
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return found or [str(one.value) for one in common]


def _covers(name: str, hostname: str) -> bool:
    name, hostname = name.lower(), hostname.lower().rstrip(".")
    if name.startswith("*."):
        return hostname.partition(".")[2] == name[2:]
    return name == hostname
