"""Certificate profile of IGC-Santé: subjects, lifetimes and extensions.

Copied from the real authorities and the real signer of the list (DOMAIN §2.3, §2.5). The profile
of server certificates is not published; this one has the usual extensions (DOMAIN §10).
Revocation addresses are those of the testbed, if any: the national services are never called.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    NameOID,
    ObjectIdentifier,
)

Extensions = tuple[x509.Extension[x509.ExtensionType], ...]

_ANY_POLICY = ObjectIdentifier("2.5.29.32.0")
_SIGNER_POLICY = ObjectIdentifier("1.2.250.1.213.1.7.1.1.2.3.1")
_SIGNER_PRODUCT = x509.UnrecognizedExtension(
    ObjectIdentifier("1.2.250.1.71.1.2.5"), b"\x04\x01\x03"
)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Validity of a certificate; both times aware."""

    not_before: datetime
    not_after: datetime

    @classmethod
    def of_authority(cls, now: datetime) -> Self:
        """Twenty years from a day before `now`, like authorities of IGC-Santé."""
        return cls(now - timedelta(days=1), now + timedelta(days=20 * 365))

    @classmethod
    def of_leaf(cls, now: datetime) -> Self:
        """Three years from a day before `now`, like servers of IGC-Santé."""
        return cls(now - timedelta(days=1), now + timedelta(days=3 * 365))


@dataclass(frozen=True, slots=True)
class Subject:
    """Subject of a server certificate.

    `identifier`: idNat_Struct of the organisation (`1` and a FINESS, `3` and a SIRET: DOMAIN §1.5).
    `state`: "Département (code)".
    """

    common_name: str
    identifier: str
    organization: str
    state: str

    @property
    def x509_name(self) -> x509.Name:
        """The name in the order of IGC-Santé, which is the reverse of RFC 4514."""
        return _name(
            (NameOID.COUNTRY_NAME, "FR"),
            (NameOID.STATE_OR_PROVINCE_NAME, self.state),
            (NameOID.ORGANIZATION_NAME, self.organization),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, self.identifier),
            (NameOID.COMMON_NAME, self.common_name),
        )


@dataclass(frozen=True, slots=True)
class RevocationAddresses:
    """URLs of CRLs and OCSP responders named in a certificate."""

    crls: tuple[str, ...] = ()
    ocsp: tuple[str, ...] = ()

    @property
    def extensions(self) -> Extensions:
        """Both extensions, one distribution point for each CRL; without a URL it is left out."""
        points = [
            x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
            for url in self.crls
        ]
        responders = [
            x509.AccessDescription(
                AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url)
            )
            for url in self.ocsp
        ]
        return (
            *([_plain(x509.CRLDistributionPoints(points))] if points else ()),
            *([_plain(x509.AuthorityInformationAccess(responders))] if responders else ()),
        )


NOWHERE = RevocationAddresses()
"""No revocation addresses."""

LIST_SIGNER = Subject(
    "alb.mssante.fr", "347976684200724", "CAPGEMINI TECHNOLOGY SERVICES", "Hauts-de-Seine (92)"
)
"""Subject of the real list's signer (DOMAIN §2.5)."""


def authority_name(common_name: str) -> x509.Name:
    """Name of a test authority; the names of real authorities lack the word TEST."""
    return _name(
        (NameOID.COUNTRY_NAME, "FR"),
        (NameOID.ORGANIZATION_NAME, "ASIP-SANTE"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "0002 187512751"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "IGC-SANTE TEST"),
        (NameOID.COMMON_NAME, common_name),
    )


def authority_extensions(path_length: int | None) -> Extensions:
    """Extensions of an authority. `path_length`: levels of authorities allowed below it."""
    return (
        _critical(x509.BasicConstraints(ca=True, path_length=path_length)),
        _critical(key_usage("key_cert_sign", "crl_sign")),
        _plain(_policy(_ANY_POLICY)),
    )


def server_extensions(hostnames: Sequence[str]) -> Extensions:
    """Extensions of a server certificate. `hostnames`: alternative names, may be empty."""
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    names = [_plain(x509.SubjectAlternativeName(map(x509.DNSName, hostnames)))] if hostnames else []
    return (
        _critical(key_usage("digital_signature", "key_encipherment")),
        _plain(x509.ExtendedKeyUsage(usages)),
        *names,
        _plain(x509.BasicConstraints(ca=False, path_length=None)),
    )


def signer_extensions() -> Extensions:
    """Extensions of the list signer's certificate, an S/MIME product (DOMAIN §2.5)."""
    return (
        _plain(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])),
        _plain(_policy(_SIGNER_POLICY)),
        _critical(key_usage("digital_signature", "content_commitment")),
        _plain(_SIGNER_PRODUCT),
        _plain(x509.SubjectAlternativeName([x509.RFC822Name("alb@mssante.fr")])),
        _plain(x509.BasicConstraints(ca=False, path_length=None)),
    )


def _name(*attributes: tuple[ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


def _critical(value: x509.ExtensionType) -> x509.Extension[x509.ExtensionType]:
    return x509.Extension(value.oid, critical=True, value=value)


def _plain(value: x509.ExtensionType) -> x509.Extension[x509.ExtensionType]:
    return x509.Extension(value.oid, critical=False, value=value)


def _policy(oid: ObjectIdentifier) -> x509.CertificatePolicies:
    return x509.CertificatePolicies([x509.PolicyInformation(oid, None)])


_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def key_usage(*allowed: str) -> x509.KeyUsage:
    """KeyUsage with exactly these usages, named as in `cryptography.x509.KeyUsage`."""
    return x509.KeyUsage(**{usage: usage in allowed for usage in _USAGES})
