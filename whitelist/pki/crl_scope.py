"""Scope of a revocation list: the certificates and the reasons that it covers.

An authority may split its revocations into several lists: of end users only, of authorities only,
of certificates with a certain distribution point, of some reasons only. The extension
IssuingDistributionPoint says so (RFC 5280 §5.2.5); a list without it covers all certificates. The
scope is parsed once, with the list. A list out of scope never clears a certificate (RFC 5280
§6.3.3). Pure.
"""

from dataclasses import dataclass
from typing import Final

from cryptography import x509

from whitelist.pki.extensions import UNREADABLE, extension_of

EVERY_REASON: Final = frozenset(x509.ReasonFlags) - {
    x509.ReasonFlags.unspecified,
    x509.ReasonFlags.remove_from_crl,
}
"""The reasons by which lists may be split; together they are all (RFC 5280 §5.2.5)."""

Point = x509.GeneralName | x509.RelativeDistinguishedName


@dataclass(frozen=True, slots=True)
class CrlScope:
    """Coverage of a list; `points` are distribution points, empty for all certificates."""

    users: bool = True
    authorities: bool = True
    points: frozenset[Point] = frozenset()
    reasons: frozenset[x509.ReasonFlags] = EVERY_REASON

    @classmethod
    def of(cls, point: x509.IssuingDistributionPoint | None) -> "CrlScope":
        """Parse the extension of a list, None for a list without."""
        if point is None:
            return COMPLETE
        names: set[Point] = set(point.full_name or ())
        if point.relative_name is not None:
            names.add(point.relative_name)
        return cls(
            users=not point.only_contains_ca_certs,
            authorities=not point.only_contains_user_certs,
            points=frozenset(names),
            reasons=point.only_some_reasons or EVERY_REASON,
        )

    def covers(self, certificate: x509.Certificate) -> bool:
        """True if the list would name `certificate`, if revoked for one of the list's reasons.

        `certificate` must be of the list's own authority.
        """
        if not (self.authorities if _is_authority(certificate) else self.users):
            return False
        return not self.points or not self.points.isdisjoint(_points_of(certificate))

    def __str__(self) -> str:
        """Format for a message, such as `users only`; '' for a complete list."""
        parts = []
        if not self.authorities:
            parts.append("users only")
        if not self.users:
            parts.append("authorities only")
        if self.points:
            parts.append("distribution point " + " or ".join(sorted(map(_text, self.points))))
        if self.reasons != EVERY_REASON:
            parts.append(f"reasons {reason_names(self.reasons)} only")
        return ", ".join(parts)


COMPLETE: Final = CrlScope()


def reason_names(reasons: frozenset[x509.ReasonFlags]) -> str:
    """Format reasons for a message, in a fixed order."""
    return ", ".join(sorted(reason.value for reason in reasons))


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        constraints = extension_of(certificate.extensions, x509.BasicConstraints)
    except UNREADABLE:
        return False
    return constraints is not None and constraints.ca


def _points_of(certificate: x509.Certificate) -> frozenset[Point]:
    try:
        found = extension_of(certificate.extensions, x509.CRLDistributionPoints)
    except UNREADABLE:
        return frozenset()
    names: set[Point] = set()
    for point in found or ():
        if point.crl_issuer is None:  # else an indirect list, which is never read
            names.update(point.full_name or ())
            if point.relative_name is not None:
                names.add(point.relative_name)
    return frozenset(names)


def _text(point: Point) -> str:
    if isinstance(point, x509.UniformResourceIdentifier):
        return point.value
    if isinstance(point, x509.DirectoryName):
        return point.value.rfc4514_string()
    return repr(point)
