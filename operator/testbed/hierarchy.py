"""A test hierarchy of certificates in the shape of IGC-Santé, for demos, `mssante init` and tests.

A root and the issuing authority below it, named as the public test hierarchy is (DOMAIN §2.5);
the authority issues server certificates and the signer of a test white list. RSA 2048 with
SHA-256 throughout. Nothing made here has any value outside a testbed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from .credential import Credential, new_key
from .profile import (
    LIST_SIGNER,
    Extensions,
    Lifetime,
    Subject,
    authority_extensions,
    authority_name,
    server_extensions,
    signer_extensions,
)

_ROOT = authority_name("TEST AC RACINE IGC-SANTE ELEMENTAIRE")
_INTERMEDIATE = authority_name("TEST AC IGC-SANTE ELEMENTAIRE ORGANISATIONS")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A root and the issuing authority below it, which signs servers and the list's signer."""

    root: Credential
    intermediate: Credential

    @classmethod
    def create(cls, now: datetime) -> Self:
        """Make new authorities, valid from a day before `now`."""
        lifetime = Lifetime.of_authority(now)
        key = new_key()
        root = Credential(
            _certificate(_ROOT, key, (_ROOT, key), lifetime, authority_extensions(None)), key
        )
        below = new_key()
        intermediate = _certificate(
            _INTERMEDIATE, below, (_ROOT, key), lifetime, authority_extensions(0)
        )
        return cls(root, Credential(intermediate, below))

    def save(self, folder: Path) -> None:
        """Write both authorities into `folder`, made if missing: `root.pem`, `root.key`, …."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.save(folder / "root.pem", folder / "root.key")
        self.intermediate.save(folder / "intermediate.pem", folder / "intermediate.key")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote. Raises TrustFileError naming the file at fault."""
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
    ) -> Credential:
        """Issue a server certificate, good for both sides of a connection between operators.

        A plain `x509.Name` makes odd subjects; a given `key` is used instead of a new one;
        without `hostnames` there is no alternative name.
        """
        return self._issue(subject, lifetime, server_extensions(hostnames), key)

    def issue_list_signer(
        self,
        lifetime: Lifetime,
        *,
        subject: Subject | x509.Name = LIST_SIGNER,
        key: rsa.RSAPrivateKey | None = None,
    ) -> Credential:
        """Issue a certificate to sign white lists with, in the shape of the real one."""
        return self._issue(subject, lifetime, signer_extensions(), key)

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
