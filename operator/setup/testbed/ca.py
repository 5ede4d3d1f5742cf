"""Test certificate hierarchy in the form of IGC-Santé, for demos, `mssante init` and tests.

A root and an issuing authority below it, with names like the public test hierarchy (DOMAIN §2.5).
The authority issues server certificates and the signer of a test white list. All keys are RSA
2048, all signatures SHA-256, also in revocation lists. Nothing made here is valid outside a
testbed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from .certificate_profile import (
    LIST_SIGNER,
    NOWHERE,
    Extensions,
    Lifetime,
    RevocationAddresses,
    Subject,
    authority_extensions,
    authority_name,
    server_extensions,
    signer_extensions,
)
from .credential import Credential, new_key

_ROOT = authority_name("TEST AC RACINE IGC-SANTE ELEMENTAIRE")
_INTERMEDIATE = authority_name("TEST AC IGC-SANTE ELEMENTAIRE ORGANISATIONS")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Root and issuing authority; the latter issues certificates of servers and list signers."""

    root: Credential
    intermediate: Credential

    @classmethod
    def create(cls, now: datetime, root_revocation: RevocationAddresses = NOWHERE) -> Self:
        """Create new authorities, valid from a day before `now`.

        `root_revocation`: addresses of the root's revocation list, named in the intermediate.
        """
        lifetime = Lifetime.of_authority(now)
        key = new_key()
        root = Credential(
            _certificate(_ROOT, key, (_ROOT, key), lifetime, authority_extensions(None)), key
        )
        below = new_key()
        extensions = (*authority_extensions(0), *root_revocation.extensions)
        intermediate = _certificate(_INTERMEDIATE, below, (_ROOT, key), lifetime, extensions)
        return cls(root, Credential(intermediate, below))

    def save(self, folder: Path) -> None:
        """Write both into `folder`, created if missing: `root.pem`, `root.key`, ….

        Raises OSError.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.save(folder / "root.pem", folder / "root.key")
        self.intermediate.save(folder / "intermediate.pem", folder / "intermediate.key")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the files of `save`. Raises TrustFileError with the path of the bad file."""
        return cls(
            Credential.load(folder / "root.pem", folder / "root.key"),
            Credential.load(folder / "intermediate.pem", folder / "intermediate.key"),
        )

    def issue_server(
        self,
        subject: Subject | x509.Name,
        hostnames: Sequence[str],
        lifetime: Lifetime,
        *,
        key: rsa.RSAPrivateKey | None = None,
        revocation: RevocationAddresses = NOWHERE,
    ) -> Credential:
        """Issue a certificate for TLS server and client.

        `subject`: an `x509.Name` allows unusual subjects. `hostnames`: alternative names, may be
        empty. `key`: used in place of a new key.
        """
        extensions = (*server_extensions(hostnames), *revocation.extensions)
        return self._issue(subject, lifetime, extensions, key)

    def issue_list_signer(
        self,
        lifetime: Lifetime,
        *,
        subject: Subject | x509.Name = LIST_SIGNER,
        key: rsa.RSAPrivateKey | None = None,
        revocation: RevocationAddresses = NOWHERE,
    ) -> Credential:
        """Issue a certificate of a list signer, in the form of the real certificate."""
        return self._issue(subject, lifetime, (*signer_extensions(), *revocation.extensions), key)

    def _issue(
        self,
        subject: Subject | x509.Name,
        lifetime: Lifetime,
        extensions: Extensions,
        key: rsa.RSAPrivateKey | None,
    ) -> Credential:
        key = key or new_key()
        name = subject.x509_name if isinstance(subject, Subject) else subject
        issuer = (self.intermediate.certificate.subject, self.intermediate.key)
        return Credential(_certificate(name, key, issuer, lifetime, extensions), key)


def issue_crl(
    issuer: Credential,
    lifetime: Lifetime,
    number: int,
    revoked: Iterable[int] = (),
    extensions: Extensions = (),
) -> x509.CertificateRevocationList:
    """Issue the revocation list of `issuer`. `revoked`: serial numbers.

    `lifetime`: from thisUpdate to nextUpdate. `extensions`: further extensions, for unusual lists.
    """
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(lifetime.not_before)
        .next_update(lifetime.not_after)
        .add_extension(authority, critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for extension in extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    for serial in revoked:
        entry = x509.RevokedCertificateBuilder(serial, lifetime.not_before).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(issuer.key, hashes.SHA256())


def _certificate(
    subject: x509.Name,
    key: rsa.RSAPrivateKey,
    issuer: tuple[x509.Name, rsa.RSAPrivateKey],
    lifetime: Lifetime,
    extensions: Extensions,
) -> x509.Certificate:
    public, (issuer_name, issuer_key) = key.public_key(), issuer
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(lifetime.not_before)
        .not_valid_after(lifetime.not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(authority, critical=False)
    )
    for extension in extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(issuer_key, hashes.SHA256())
