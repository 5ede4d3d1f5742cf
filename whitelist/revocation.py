"""Certificate revocation lists: reading one, and whether it may be used.

A list counts only if it is complete, signed by a configured authority that may sign lists, in
date, and not older than the one kept from the same authority (RFC 5280 §5, §6.3; DOMAIN §3.2 step
3, §9.62). Delta lists, indirect ones and those of some reasons or some certificates only would
leave gaps that look like "not revoked", so they are refused. Pure: octets and the instant are
passed in; fetching and keeping are `whitelist.crl_store`'s and its caller's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Self, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto

from whitelist.errors import CrlReason, CrlRefused
from whitelist.names import DistinguishedName

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

UNREADABLE: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    crypto.Error,
)
"""What cryptography and pyOpenSSL raise for damage of various kinds; not all are ValueError."""

_ADVICE = "fetch the complete list from the authority's distribution point again"


class RevocationPolicy(StrEnum):
    """What a chain needs of revocation lists (DOMAIN §9.62).

    `refuse`: each authority of the chain has a list in date. `accept`: one that is missing or out
    of date raises an alarm instead. `off`: lists are not looked at. Except with `off`, a
    certificate on any list at hand is refused, be that list out of date.
    """

    REFUSE = "refuse"
    ACCEPT = "accept"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A complete list as read by `read`; its signature is checked by `signer_of` and `accept`.

    Instants are aware; `number` is the CRL number, None without one; `digest` is the SHA-256 of
    the DER octets in lower-case hexadecimal, by which alone two lists are compared.
    """

    crl: x509.CertificateRevocationList = field(repr=False, compare=False)
    issuer: DistinguishedName = field(compare=False)
    this_update: datetime = field(compare=False)
    next_update: datetime = field(compare=False)
    number: int | None = field(compare=False)
    digest: str

    @classmethod
    def read(cls, octets: bytes) -> Self:
        """Read PEM or DER. Raises CrlRefused: `unreadable` or `delta-or-partial`."""
        try:
            load = x509.load_pem_x509_crl if b"-----BEGIN" in octets else x509.load_der_x509_crl
            crl = load(octets)
            issuer = DistinguishedName.from_x509(crl.issuer)
            extensions = crl.extensions
            this_update, next_update = crl.last_update_utc, crl.next_update_utc
            der = crl.public_bytes(Encoding.DER)
            crypto.X509Store().add_crl(crl)  # OpenSSL must read it too, when it judges chains
        except UNREADABLE as error:
            raise CrlRefused(
                CrlReason.UNREADABLE, f"no readable PEM or DER revocation list: {error}; {_ADVICE}"
            ) from error
        if next_update is None or next_update <= this_update:
            raise CrlRefused(
                CrlReason.UNREADABLE,
                f"the list of {issuer} does not say until when it holds "
                f"(nextUpdate, RFC 5280 §5.1.2.5); {_ADVICE}",
            )
        _require_complete(issuer, extensions)
        number = extension_of(extensions, x509.CRLNumber)
        return cls(
            crl=crl,
            issuer=issuer,
            this_update=this_update,
            next_update=next_update,
            number=None if number is None else number.crl_number,
            digest=sha256(der).hexdigest(),
        )

    @property
    def der(self) -> bytes:
        """The list as DER octets."""
        return self.crl.public_bytes(Encoding.DER)

    @property
    def refresh_at(self) -> datetime:
        """When to fetch the next one: with a quarter of the validity left."""
        return self.next_update - (self.next_update - self.this_update) / 4

    def in_date(self, at: datetime) -> bool:
        """Whether the list holds at the aware instant `at`; `next_update` itself is too late."""
        return self.this_update <= at < self.next_update

    def older_than(self, other: Self) -> bool:
        """Whether this was issued before `other`, by either date or number (RFC 5280 §5.2.3)."""
        if self.number is not None and other.number is not None and self.number < other.number:
            return True
        return self.this_update < other.this_update

    def __str__(self) -> str:
        """Name the list in a message: number, issuer and dates."""
        number = "" if self.number is None else f" number {self.number}"
        return (
            f"list{number} of {self.issuer} "
            f"({self.this_update.isoformat()} to {self.next_update.isoformat()})"
        )


def signer_of(crl: RevocationList, authorities: Sequence[x509.Certificate]) -> x509.Certificate:
    """Give the first of `authorities` that bears the issuer's name and whose key signed `crl`.

    Raises CrlRefused: `unknown-issuer` if none of that name may sign lists, `bad-signature`.
    """
    named = [one for one in authorities if _may_sign(one, crl.issuer)]
    if not named:
        raise CrlRefused(
            CrlReason.UNKNOWN_ISSUER,
            f"the {crl} is of no configured authority that may sign revocation lists; "
            "add that authority to the trust settings, or remove the list",
        )
    for authority in named:
        if _signed(crl.crl, authority):
            return authority
    raise CrlRefused(
        CrlReason.BAD_SIGNATURE,
        f"the {crl} was not signed, with SHA-2 or SHA-3, by the key of that authority; {_ADVICE}",
    )


def accept(
    crl: RevocationList,
    authorities: Sequence[x509.Certificate],
    at: datetime,
    kept: RevocationList | None = None,
) -> x509.Certificate:
    """Give the authority that signed `crl` if it may be used from the aware instant `at` on.

    `kept` is the list in use from that authority. Raises CrlRefused with the first reason of
    `signer_of`, then `not-yet-valid`, `expired`, `older-than-kept`. The kept list itself passes. A
    kept one that is not in date (over, or from when a clock was ahead) keeps nothing out.
    """
    authority = signer_of(crl, authorities)
    if at < crl.this_update:
        raise CrlRefused(
            CrlReason.NOT_YET_VALID,
            f"the {crl} is from after {at.isoformat()}; check this machine's clock",
        )
    if not crl.in_date(at):
        raise CrlRefused(
            CrlReason.EXPIRED, f"the {crl} is over at {at.isoformat()}; fetch a newer one"
        )
    if kept is not None and kept.in_date(at) and crl.older_than(kept):
        raise CrlRefused(
            CrlReason.OLDER_THAN_KEPT,
            f"the {crl} is older than the {kept} in use; fetch the newest one",
        )
    return authority


def distribution_points(certificate: x509.Certificate) -> tuple[str, ...]:
    """Give the http URLs of the complete list that would name `certificate`, in its order.

    Other schemes (IGC-Santé also names ldap: DOMAIN §2.5), and points for some reasons or of
    another issuer, are left out; a certificate without usable points gives (). What a certificate
    names is only to be fetched once its chain holds.
    """
    try:
        points = extension_of(certificate.extensions, x509.CRLDistributionPoints)
    except UNREADABLE:
        return ()
    return tuple(
        name.value
        for point in points or ()
        if point.reasons is None and point.crl_issuer is None
        for name in point.full_name or ()
        if isinstance(name, x509.UniformResourceIdentifier)
        and name.value.lower().startswith("http://")
    )


def _require_complete(issuer: DistinguishedName, extensions: x509.Extensions) -> None:
    """Refuse what covers only a part; so does what is critical and unknown (RFC 5280 §5.2)."""
    problem = ""
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.DeltaCRLIndicator):
            problem = "only the changes since another list (a delta list)"
        elif isinstance(value, x509.IssuingDistributionPoint):
            problem = problem or _partial(value)
        elif extension.critical:
            oid = extension.oid.dotted_string
            problem = problem or f"what a critical extension of unknown meaning says ({oid})"
    if problem:
        raise CrlRefused(
            CrlReason.DELTA_OR_PARTIAL, f"the list of {issuer} covers {problem}; {_ADVICE}"
        )


def _partial(point: x509.IssuingDistributionPoint) -> str:
    """Say what part a list covers; users or authorities only is no gap that OpenSSL misses."""
    if point.indirect_crl:
        return "certificates of other issuers (an indirect list)"
    if point.only_some_reasons:
        return "some reasons of revocation only"
    if point.only_contains_attribute_certs:
        return "attribute certificates only"
    return ""


def _may_sign(authority: x509.Certificate, issuer: DistinguishedName) -> bool:
    try:
        usage = extension_of(authority.extensions, x509.KeyUsage)
        name = DistinguishedName.from_certificate(authority)
    except UNREADABLE:
        return False
    return name == issuer and (usage is None or usage.crl_sign)


def _signed(crl: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    """Say whether the authority's key signed the list; cryptography takes SHA-2 and SHA-3 only."""
    try:
        key = authority.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        return False
    try:
        return crl.is_signature_valid(key)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


def extension_of(extensions: x509.Extensions, kind: type[_Extension]) -> _Extension | None:
    """Give the value of the extension of a kind, None without."""
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
