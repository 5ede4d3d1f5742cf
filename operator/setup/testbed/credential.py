"""Certificate and private key as two PEM files; the key is readable by its owner only."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from whitelist.errors import TrustFileError


@dataclass(frozen=True, slots=True)
class Credential:
    """Certificate with its private key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key as unencrypted PKCS #8 PEM."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def save(self, certificate: Path, key: Path) -> None:
        """Write or replace both files; the key has mode 0600 at all times. Raises OSError."""
        certificate.write_bytes(self.certificate_pem)
        descriptor = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # an existing file keeps its mode at os.open
            file.write(self.key_pem)

    @classmethod
    def load(cls, certificate: Path, key: Path) -> Self:
        """Read both files. Raises TrustFileError if a file is missing or bad, or if they differ."""
        try:
            found = x509.load_pem_x509_certificate(_read(certificate))
        except ValueError as error:
            raise _damaged(certificate, "no PEM certificate") from error
        try:
            private = serialization.load_pem_private_key(_read(key), password=None)
        except (ValueError, TypeError) as error:
            raise _damaged(key, "no unencrypted PEM private key") from error
        if not isinstance(private, rsa.RSAPrivateKey) or private.public_key() != found.public_key():
            raise _damaged(key, f"not the RSA key of {certificate}")
        return cls(found, private)


def new_key() -> rsa.RSAPrivateKey:
    """New RSA key of 2048 bits, the size that IGC-Santé uses for servers and signers."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TrustFileError(
            path, f"cannot be read ({error.strerror})", "make the test hierarchy again"
        ) from error


def _damaged(path: Path, problem: str) -> TrustFileError:
    return TrustFileError(path, f"holds {problem}", "make the test hierarchy again")
