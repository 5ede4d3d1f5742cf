"""Test hierarchy for the whole run, and certificates and lists made from it.

A key costs tens of milliseconds, so authorities, signer and a spare key are made once per process.
All are valid at `NOW`, which tests pass as the current time.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from mssante_operator.setup.testbed.ca import Hierarchy, issue_crl
from mssante_operator.setup.testbed.certificate_profile import (
    LIST_SIGNER,
    Extensions,
    Lifetime,
    Subject,
)
from mssante_operator.setup.testbed.credential import Credential, new_key
from mssante_operator.setup.testbed.signed_list import ListedDomain, build_signed_list
from whitelist.pki.crl import RevocationList
from whitelist.pki.trust_store import TrustStore

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SIGNER = LIST_SIGNER.common_name


@cache
def hierarchy() -> Hierarchy:
    """Test IGC-Santé of this process."""
    return Hierarchy.create(NOW)


@cache
def trust() -> TrustStore:
    """Trust store of an operator in the test trust space."""
    authorities = hierarchy()
    return TrustStore((authorities.root.certificate,), (authorities.intermediate.certificate,))


@cache
def list_signer() -> Credential:
    """Signer that operators of the test trust space expect."""
    return hierarchy().issue_list_signer(Lifetime.of_leaf(NOW))


@cache
def spare_key() -> rsa.RSAPrivateKey:
    """Key for tests in which only the certificate matters."""
    return new_key()


@cache
def server(common_name: str, organization: str = "CHU DE TEST") -> Credential:
    """Server certificate of the test trust space with the spare key; only the CN is given."""
    subject = Subject(common_name, "1750000001", organization, "Paris (75)")
    return hierarchy().issue_server(
        subject, [common_name], Lifetime.of_leaf(NOW), key=spare_key()
    )  # fmt: skip


def crl(
    issuer: Credential,
    revoked: Iterable[Credential] = (),
    *,
    number: int = 1,
    issued: datetime = NOW - timedelta(days=1),
    days: float = 8,
    extensions: Extensions = (),
) -> bytes:
    """Revocation list of `issuer`, DER; by default one day old and valid for seven more days."""
    return issue_crl(
        issuer,
        Lifetime(issued, issued + timedelta(days=days)),
        number,
        (credential.certificate.serial_number for credential in revoked),
        extensions,
    ).public_bytes(Encoding.DER)


def crls(*revoked: Credential) -> tuple[RevocationList, RevocationList]:
    """Lists of the test IGC-Santé, in date: of the root, and of the intermediate with `revoked`."""
    authorities = hierarchy()
    return (
        RevocationList.read(crl(authorities.root)),
        RevocationList.read(crl(authorities.intermediate, revoked)),
    )


def listed(domain: str, dn: str, description: str = "Domaine de test") -> ListedDomain:
    """Entry of a list, with default values for irrelevant fields."""
    return ListedDomain(domain, dn, description, NOW - timedelta(days=30))


def signed_list(
    entries: Iterable[ListedDomain],
    generated_at: datetime = NOW - timedelta(hours=1),
    signer: Credential | None = None,
) -> bytes:
    """List signed by the expected signer, or by another signer."""
    return build_signed_list(entries, generated_at, signer or list_signer())


def write_trust(folder: Path) -> tuple[Path, Path]:
    """Write the authorities as PEM files; returns the paths of root and intermediate."""
    folder.mkdir(parents=True, exist_ok=True)
    anchor, intermediate = folder / "anchor.pem", folder / "intermediate.pem"
    anchor.write_bytes(hierarchy().root.certificate_pem)
    intermediate.write_bytes(hierarchy().intermediate.certificate_pem)
    return anchor, intermediate
