"""Rules for the white list's signer, decided on its certificate alone.

Otherwise any IGC-Santé certificate could sign a list (DOMAIN §2.5, §9.4). The signer is an end
entity below a configured intermediate; its common name equals the configured name octet by octet;
its whole name and its product are compared if the configuration has them.
"""

from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from whitelist.errors import ListReason, ListRefused
from whitelist.national.signed_file import ADVICE
from whitelist.pki.certificates import issued_by
from whitelist.pki.distinguished_name import DistinguishedName, label
from whitelist.pki.trust_store import TrustStore

_Value = TypeVar("_Value", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class ExpectedSigner:
    """Expected common name (ASCII); optionally the whole name and a policy OID to compare.

    The policy is IGC-Santé's product (`1.2.250.1.213.1.7.1.1.2.3.1` for SERV S/MIME, DOMAIN U0).
    """

    common_name: str
    name: DistinguishedName | None = None
    policy: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError if the whole name has another common name."""
        if self.name is not None and self.name.common_name != self.common_name:
            named = self.name.common_name
            raise ValueError(f"signer_dn has CN={named}, but signer is {self.common_name}")

    @classmethod
    def of(cls, signer: "str | ExpectedSigner") -> "ExpectedSigner":
        """Accept a plain common name too."""
        return cls(signer) if isinstance(signer, str) else signer


def accept_signer(
    certificate: x509.Certificate,
    name: DistinguishedName,
    expected: ExpectedSigner,
    trust: TrustStore,
) -> None:
    """Return if this certificate may sign; its chain is verified and its subject is `name`.

    Raises ListRefused with the first reason in this order: end entity, issuer, key usage, key,
    common name, whole name, product.
    """
    try:
        key, extensions = certificate.public_key(), certificate.extensions
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise ListRefused(
            ListReason.SIGNER_UNREADABLE, f"signer {name}: {error}; {ADVICE}"
        ) from error
    constraints = _find(extensions, x509.BasicConstraints)
    usage = _find(extensions, x509.KeyUsage)
    if (constraints and constraints.ca) or (usage and usage.key_cert_sign):
        raise ListRefused(
            ListReason.SIGNER_NOT_END_ENTITY, f"signer {name}: it is an authority itself; {ADVICE}"
        )
    issuers = trust.intermediates or trust.anchors
    if not any(issued_by(certificate, issuer) for issuer in issuers):
        names = " or ".join(map(label, issuers))
        raise ListRefused(
            ListReason.SIGNER_ISSUER, f"signer {name}: not issued by {names}; {ADVICE}"
        )
    if usage and not (usage.digital_signature or usage.content_commitment):
        raise ListRefused(
            ListReason.SIGNER_KEY_USAGE,
            f"signer {name}: its key usage does not allow signatures; {ADVICE}",
        )
    if not isinstance(key, rsa.RSAPublicKey):
        raise ListRefused(
            ListReason.ALGORITHM, f"signer {name}: its key is not RSA, as the list's is; {ADVICE}"
        )
    _accept_name(certificate, name, expected)
    _accept_policy(extensions, name, expected)


def _accept_name(
    certificate: x509.Certificate, name: DistinguishedName, expected: ExpectedSigner
) -> None:
    # Exact comparison: neither case, blanks nor Unicode forms are folded here.
    found = [one.value for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if found != [expected.common_name]:
        raise ListRefused(
            ListReason.SIGNER_NOT_CONFIGURED,
            f"signed by {name}, but only CN={expected.common_name} may sign the list, in these "
            "very letters; if its publisher changed that name, change whitelist.signer",
        )
    if expected.name is not None and name != expected.name:
        raise ListRefused(
            ListReason.SIGNER_NOT_CONFIGURED,
            f"signed by {name}, but only {expected.name} may sign the list; "
            "if its publisher changed that name, change whitelist.signer_dn",
        )


def _accept_policy(
    extensions: x509.Extensions, name: DistinguishedName, expected: ExpectedSigner
) -> None:
    if not expected.policy:
        return
    policies = _find(extensions, x509.CertificatePolicies) or ()
    found = [policy.policy_identifier.dotted_string for policy in policies]
    if expected.policy not in found:
        raise ListRefused(
            ListReason.SIGNER_POLICY,
            f"signer {name}: its certificate policies are {', '.join(found)[:200] or 'none'}, not "
            f"{expected.policy}; if its publisher changed product, change whitelist.signer_policy",
        )


def _find(extensions: x509.Extensions, kind: type[_Value]) -> _Value | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
