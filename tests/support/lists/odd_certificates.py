"""Certificates of an operator, each with one unusual trait, and a client that shows them."""

import ssl
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from mssante_operator.setup.install import write_identity
from mssante_operator.setup.testbed.certificate_profile import key_usage
from mssante_operator.setup.testbed.credential import Credential
from tests.support.machines.operators import trust_space
from whitelist.pki.trust_store import TrustStore

_SHA256_WITH_RSA = bytes.fromhex("06092a864886f70d01010b")
_SHA1_WITH_RSA = bytes.fromhex("06092a864886f70d010105")


def remade(
    model: Credential,
    issuer: Credential,
    *,
    key: rsa.RSAPrivateKey | None = None,
    instead: Iterable[x509.ExtensionType] = (),
) -> Credential:
    """Certificate like the model, with another key or other extensions."""
    key, old = key or model.key, model.certificate
    given = {value.oid: value for value in instead}
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc)
    )
    for extension in old.extensions:
        value = given.pop(extension.oid, extension.value)
        builder = builder.add_extension(value, extension.critical)
    for value in given.values():
        builder = builder.add_extension(value, critical=False)
    return Credential(builder.sign(issuer.key, hashes.SHA256()), key)


def with_sha1(model: Credential, issuer: Credential) -> Credential:
    """The model signed with SHA-1.  The library cannot do that, so the octets are changed."""
    old = model.certificate
    body = old.tbs_certificate_bytes.replace(_SHA256_WITH_RSA, _SHA1_WITH_RSA)
    signature = issuer.key.sign(body, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303 - weak on purpose
    der = old.public_bytes(Encoding.DER).replace(old.tbs_certificate_bytes, body)
    der = der.replace(_SHA256_WITH_RSA, _SHA1_WITH_RSA).replace(old.signature, signature)
    return Credential(x509.load_der_x509_certificate(der), model.key)


@cache
def odd_b(kind: str) -> Credential:
    """Operator B's certificate with the trait `odd`."""
    space = trust_space()
    return odd(kind, space.operators["b"], space.space.hierarchy.intermediate)


def odd(kind: str, model: Credential, issuer: Credential) -> Credential:
    """Certificate like the model with a trait: `server-only`, `mail-only`, `no-signature`, …."""
    usage = x509.ExtendedKeyUsage
    match kind:
        case "server-only":
            return remade(model, issuer, instead=[usage([ExtendedKeyUsageOID.SERVER_AUTH])])
        case "mail-only":
            return remade(model, issuer, instead=[usage([ExtendedKeyUsageOID.EMAIL_PROTECTION])])
        case "no-signature":
            return remade(model, issuer, instead=[key_usage("key_encipherment")])
        case "rsa-1024":
            small = rsa.generate_private_key(65537, 1024)  # noqa: S505 - weak on purpose
            return remade(model, issuer, key=small, instead=[_identifier(small)])
        case "sha-1":
            return with_sha1(model, issuer)
        case "self-signed":
            own = [
                x509.AuthorityKeyIdentifier.from_issuer_public_key(model.key.public_key()),
                _identifier(model.key),
            ]
            return remade(model, model, instead=own)
    raise ValueError(kind)


def _identifier(key: rsa.RSAPrivateKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key())


def careless_client(
    credential: Credential, trust: TrustStore, folder: Path, version: ssl.TLSVersion
) -> ssl.SSLContext:
    """TLS context of a client that shows any certificate, with one TLS version."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    context.load_verify_locations(cadata=trust.pem)
    write_identity(credential, trust_space().space.hierarchy, folder, "odd")
    context.load_cert_chain(folder / "odd.pem", folder / "odd.key")
    return context
