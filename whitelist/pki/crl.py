"""Certificate revocation lists: parser and acceptance rules.

A list counts only if it is signed by a configured authority that may sign lists, in date, and not
older than the kept list of the same authority and scope (RFC 5280 §5, §6.3; DOMAIN §3.2 step 3,
§9.62). Delta lists, indirect lists and lists with unknown critical content are refused: they would
leave gaps that look like "not revoked". Pure: octets and instant are parameters. Callers fetch
lists; `whitelist.pki.crl_store` keeps them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from whitelist.errors import CrlReason, CrlRefused
from whitelist.pki.crl_scope import CrlScope
from whitelist.pki.distinguished_name import DistinguishedName
from whitelist.pki.extensions import UNREADABLE, extension_of

_ADVICE = "fetch the complete list from the authority's distribution point again"

_CRITICAL = b"\x01\x01\xff"
"""DER encoding of "critical" in an extension; may also occur by chance."""


class RevocationPolicy(StrEnum):
    """Revocation lists that a chain needs (DOMAIN §9.62).

    `refuse`: each authority of the chain has a list in date. `accept_crl`: a list that is missing
    or out of date only raises an alarm. `off`: lists are ignored. Except with `off`, a certificate
    on any kept list is refused, even if that list is out of date.
    """

    REFUSE = "refuse"
    ACCEPT = "accept"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A list as parsed by `read`; `signer_of` and `accept_crl` check its signature.

    Instants are aware; `number` is the CRL number, None without; `serials` are the revoked serial
    numbers; `scope` is the set of certificates that the list covers; `digest` is the SHA-256 of the
    DER octets in lower-case hexadecimal; only the digest is compared.
    """

    crl: x509.CertificateRevocationList = field(repr=False, compare=False)
    issuer: DistinguishedName = field(compare=False)
    this_update: datetime = field(compare=False)
    next_update: datetime = field(compare=False)
    number: int | None = field(compare=False)
    scope: CrlScope = field(compare=False)
    serials: frozenset[int] = field(repr=False, compare=False)
    digest: str

    @classmethod
    def read(cls, octets: bytes) -> Self:
        """Parse PEM or DER. Raises CrlRefused: `unreadable` or `delta-or-partial`."""
        try:
            load = x509.load_pem_x509_crl if b"-----BEGIN" in octets else x509.load_der_x509_crl
            crl = load(octets)
            issuer = DistinguishedName.from_x509(crl.issuer)
            extensions = crl.extensions
            this_update, next_update = crl.last_update_utc, crl.next_update_utc
            der = crl.public_bytes(Encoding.DER)
            serials = frozenset(entry.serial_number for entry in crl)
        except UNREADABLE as error:
            problem = _page(octets) or f"no readable PEM or DER revocation list: {error}"
            raise CrlRefused(CrlReason.UNREADABLE, f"{problem}; {_ADVICE}") from error
        if next_update is None or next_update <= this_update:
            raise CrlRefused(
                CrlReason.UNREADABLE,
                f"the list of {issuer} does not say until when it holds "
                f"(nextUpdate, RFC 5280 §5.1.2.5); {_ADVICE}",
            )
        _require_usable(issuer, extensions)
        _require_usable_entries(issuer, crl, der, sum(one.critical for one in extensions))
        number = extension_of(extensions, x509.CRLNumber)
        return cls(
            crl=crl,
            issuer=issuer,
            this_update=this_update,
            next_update=next_update,
            number=None if number is None else number.crl_number,
            scope=CrlScope.of(extension_of(extensions, x509.IssuingDistributionPoint)),
            serials=serials,
            digest=sha256(der).hexdigest(),
        )

    @property
    def der(self) -> bytes:
        """The list as DER octets."""
        return self.crl.public_bytes(Encoding.DER)

    @property
    def refresh_at(self) -> datetime:
        """Time to fetch the next list: with a quarter of the validity left."""
        return self.next_update - (self.next_update - self.this_update) / 4

    def in_date(self, at: datetime) -> bool:
        """True if the list is valid at the aware instant `at`; `next_update` itself is too late."""
        return self.this_update <= at < self.next_update

    def names(self, certificate: x509.Certificate) -> bool:
        """True if the list revokes `certificate`, which is of the list's authority."""
        return certificate.serial_number in self.serials

    def issued_before(self, other: Self) -> bool:
        """True if this list was issued before `other`, by date and then by number."""
        return self._order < other._order

    @property
    def _order(self) -> tuple[datetime, int]:
        return self.this_update, -1 if self.number is None else self.number

    def __str__(self) -> str:
        """Format for a message: number, issuer and dates."""
        number = "" if self.number is None else f" number {self.number}"
        scope = str(self.scope)
        return (
            f"list{number} of {self.issuer} "
            f"({self.this_update.isoformat()} to {self.next_update.isoformat()}"
            f"{scope and '; ' + scope})"
        )


def signer_of(crl: RevocationList, authorities: Sequence[x509.Certificate]) -> x509.Certificate:
    """Return the first of `authorities` with the issuer's name whose key signed `crl`.

    Raises CrlRefused: `unknown-issuer` if no authority of that name may sign lists,
    `bad-signature`.
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


def accept_crl(
    crl: RevocationList,
    authorities: Sequence[x509.Certificate],
    at: datetime,
    kept: RevocationList | None = None,
) -> x509.Certificate:
    """Return the authority that signed `crl` if the list may be used at the aware `at`.

    `kept` is the list in use of that authority and scope. Raises CrlRefused with the first reason
    of `signer_of`, then of `require_current`.
    """
    authority = signer_of(crl, authorities)
    require_current(crl, at, kept)
    return authority


def require_current(crl: RevocationList, at: datetime, kept: RevocationList | None = None) -> None:
    """Raise CrlRefused unless `crl` is in date at the aware `at` and not older than `kept`.

    Reasons: `not-yet-valid`, `expired`, `older-than-kept`. The kept list itself passes. A kept list
    dated in the future, from a clock that was ahead, keeps nothing out. A list issued later with a
    smaller number passes once the kept list is out of date: a newly set up authority counts from 1
    again (RFC 5280 §5.2.3 does not provide for this).
    """
    if at < crl.this_update:
        raise CrlRefused(
            CrlReason.NOT_YET_VALID,
            f"the {crl} is from after {at.isoformat()}; check this machine's clock",
        )
    if not crl.in_date(at):
        raise CrlRefused(
            CrlReason.EXPIRED, f"the {crl} is over at {at.isoformat()}; fetch a newer one"
        )
    if kept is not None and _vetoed(crl, kept, at):
        raise CrlRefused(
            CrlReason.OLDER_THAN_KEPT,
            f"the {crl} is older than the {kept} in use; fetch the newest one",
        )


def _vetoed(crl: RevocationList, kept: RevocationList, at: datetime) -> bool:
    if at < kept.this_update:
        return False
    if crl.issued_before(kept):
        return True
    smaller = crl.number is not None and kept.number is not None and crl.number < kept.number
    return smaller and kept.in_date(at)


def distribution_points(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the http URLs of the lists for `certificate`, in its order.

    Other schemes (IGC-Santé also names ldap: DOMAIN §2.5) and points of another issuer are left
    out; () without usable points. Only for our own certificate and the configured authorities: a
    peer must not choose whom we connect to.
    """
    try:
        points = extension_of(certificate.extensions, x509.CRLDistributionPoints)
    except UNREADABLE:
        return ()
    return tuple(
        name.value
        for point in points or ()
        if point.crl_issuer is None
        for name in point.full_name or ()
        if isinstance(name, x509.UniformResourceIdentifier)
        and name.value.lower().startswith("http://")
    )


def _page(octets: bytes) -> str:
    """Return a problem if the octets are a web page, as sent by busy hosts; else ''."""
    if octets[:1024].lstrip().lower().startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return f"a web page of {len(octets)} octets instead of a revocation list"
    return ""


def _require_usable(issuer: DistinguishedName, extensions: x509.Extensions) -> None:
    """Refuse delta and indirect lists, and unknown critical extensions (RFC 5280 §5.2)."""
    problem = ""
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.DeltaCRLIndicator):
            problem = "only the changes since another list (a delta list, which is ignored)"
        elif isinstance(value, x509.IssuingDistributionPoint):
            problem = problem or _unusable(value)
        elif extension.critical:
            oid = extension.oid.dotted_string
            problem = problem or f"what a critical extension of unknown meaning says ({oid})"
    if problem:
        raise CrlRefused(
            CrlReason.DELTA_OR_PARTIAL, f"the list of {issuer} covers {problem}; {_ADVICE}"
        )


def _unusable(point: x509.IssuingDistributionPoint) -> str:
    """Return the reason why a list of this scope is useless for any chain; else ''."""
    if point.indirect_crl:
        return "certificates of other issuers (an indirect list, which is ignored)"
    if point.only_contains_attribute_certs:
        return "attribute certificates only"
    return ""


def _require_usable_entries(
    issuer: DistinguishedName, crl: x509.CertificateRevocationList, der: bytes, critical: int
) -> None:
    """Refuse a list with an unknown critical extension in an entry (RFC 5280 §5.3).

    `critical` counts the critical extensions of the list itself. Parsing an entry costs
    microseconds, so entries are parsed only if the octets have more such marks.
    """
    if der.count(_CRITICAL) <= critical:
        return
    try:
        unknown = any(
            one.critical and not isinstance(one.value, x509.CRLReason | x509.InvalidityDate)
            for entry in crl
            for one in entry.extensions
        )
    except UNREADABLE as error:
        raise CrlRefused(
            CrlReason.UNREADABLE, f"an entry of the list of {issuer}: {error}; {_ADVICE}"
        ) from error
    if unknown:
        raise CrlRefused(
            CrlReason.DELTA_OR_PARTIAL,
            f"the list of {issuer} has an entry with a critical extension of unknown meaning; "
            f"{_ADVICE}",
        )


def _may_sign(authority: x509.Certificate, issuer: DistinguishedName) -> bool:
    try:
        usage = extension_of(authority.extensions, x509.KeyUsage)
        name = DistinguishedName.from_certificate(authority)
    except UNREADABLE:
        return False
    return name == issuer and (usage is None or usage.crl_sign)


def _signed(crl: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    """True if the authority's key signed the list; cryptography accepts SHA-2 and SHA-3 only."""
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
