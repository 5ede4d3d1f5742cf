"""One test hierarchy for the whole run, and what tests make from it.

Keys cost tens of milliseconds each, so authorities, signer and a spare key are made once per
process. Everything is valid at `NOW`, which tests pass wherever an instant is asked for.
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
    """The test IGC-Santé of this run."""
    return Hierarchy.create(NOW)


@cache
def trust() -> TrustStore:
    """What an operator of the test trust space trusts."""
    authorities = hierarchy()
    return TrustStore((authorities.root.certificate,), (authorities.intermediate.certificate,))


@cache
def list_signer() -> Credential:
    """The signer that operators of the test trust space expect."""
    return hierarchy().issue_list_signer(Lifetime.of_leaf(NOW))


@cache
def spare_key() -> rsa.RSAPrivateKey:
    """A key for certificates of which only the certificate matters."""
    return new_key()


@cache
def server(common_name: str, organization: str = "CHU DE TEST") -> Credential:
    """A server of the test trust space, on the spare key, named by `common_name` alone."""
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
    """A revocation list of `issuer`, DER: a day old and good for another seven, if not told."""
    return issue_crl(
        issuer,
        Lifetime(issued, issued + timedelta(days=days)),
        number,
        (credential.certificate.serial_number for credential in revoked),
        extensions,
    ).public_bytes(Encoding.DER)


def crls(*revoked: Credential) -> tuple[RevocationList, RevocationList]:
    """The lists of the test IGC-Santé, in date: the root's, and the intermediate's of `revoked`."""
    authorities = hierarchy()
    return (
        RevocationList.read(crl(authorities.root)),
        RevocationList.read(crl(authorities.intermediate, revoked)),
    )


def listed(domain: str, dn: str, description: str = "Domaine de test") -> ListedDomain:
    """An entry of a list, with what tests do not care about filled in."""
    return ListedDomain(domain, dn, description, NOW - timedelta(days=30))


def signed_list(
    entries: Iterable[ListedDomain],
    generated_at: datetime = NOW - timedelta(hours=1),
    signer: Credential | None = None,
) -> bytes:
    """A list signed by the expected signer, or by another."""
    return build_signed_list(entries, generated_at, signer or list_signer())


def write_trust(folder: Path) -> tuple[Path, Path]:
    """Write the authorities as an operator has them; give the anchor's and the intermediate's."""
    folder.mkdir(parents=True, exist_ok=True)
    anchor, intermediate = folder / "anchor.pem", folder / "intermediate.pem"
    anchor.write_bytes(hierarchy().root.certificate_pem)
    intermediate.write_bytes(hierarchy().intermediate.certificate_pem)
    return anchor, intermediate
