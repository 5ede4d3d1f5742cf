"""Distinguished names of certificates, compared as names and not as strings.

The white list binds a domain to the certificate names of its operator, and the same operator is
written in several ways: quoted or not, with double or no-break spaces, with spaces after commas.
A name here is its parsed attributes in the order of RFC 4514 (the reverse of the certificate's),
and two names are equal when types, order and folded values are (DOMAIN §9.8, §9.9,
`whitelist.pki.name_folding`). Nothing fuzzy beyond that: `Paris (75)` and `Paris(75)` stay
different.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from cryptography import x509

from whitelist.errors import InvalidName
from whitelist.pki import rfc4514
from whitelist.pki.name_folding import fold, tidy
from whitelist.pki.rfc4514 import Rdns

# Types by OID: the nine of RFC 4514 §3, then those that certificates of persons and organisations
# bear (RFC 4519 §2, X.520, RFC 2985); the first spelling is the one written.
_TYPES: dict[str, tuple[str, ...]] = {
    "2.5.4.3": ("CN", "commonName"),
    "2.5.4.7": ("L", "localityName"),
    "2.5.4.8": ("ST", "stateOrProvinceName", "S"),
    "2.5.4.10": ("O", "organizationName"),
    "2.5.4.11": ("OU", "organizationalUnitName"),
    "2.5.4.6": ("C", "countryName"),
    "2.5.4.9": ("STREET", "streetAddress"),
    "0.9.2342.19200300.100.1.25": ("DC", "domainComponent"),
    "0.9.2342.19200300.100.1.1": ("UID", "userId"),
    "2.5.4.4": ("SN", "surname"),
    "2.5.4.5": ("serialNumber",),
    "2.5.4.12": ("title", "T"),
    "2.5.4.17": ("postalCode",),
    "2.5.4.42": ("givenName", "GN"),
    "2.5.4.65": ("pseudonym",),
    "2.5.4.97": ("organizationIdentifier",),
    "1.2.840.113549.1.9.1": ("emailAddress", "E"),
}
_CANONICAL = {
    spelling.upper(): names[0]
    for oid, names in _TYPES.items()
    for spelling in (oid, *names)
}  # fmt: skip


MAX_VALUE = 256
"""Longest value of an attribute, in characters; RFC 5280 A.1 gives at most 255 to the common ones.

Comparison costs the square of a value's length where it is made of combining marks.
"""
MAX_ATTRIBUTES = 32
"""Most attributes of a name; real ones have five."""


@dataclass(frozen=True, slots=True)
class DistinguishedName:
    """A distinguished name, usable as a dictionary key.

    `rdns` holds its relative names in the order of RFC 4514 (CN first), each a tuple of
    (type, value) pairs, of which there is one except in multi-valued names. Types are in their
    usual short spelling, values tidied with their case kept. Raises InvalidName for a name without
    any attribute, with an empty value, an attribute type that is not known, or more than
    MAX_ATTRIBUTES attributes or MAX_VALUE characters in one.
    """

    rdns: Rdns = field(compare=False)
    _key: tuple[frozenset[tuple[str, str]], ...] = field(init=False, repr=False)
    _text: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.rdns:
            raise InvalidName("the distinguished name is empty: it has no attribute")
        if sum(map(len, self.rdns)) > MAX_ATTRIBUTES:
            raise InvalidName(f"a distinguished name has more than {MAX_ATTRIBUTES} attributes")
        rdns = tuple(tuple(_attribute(*pair) for pair in rdn) for rdn in self.rdns)
        object.__setattr__(self, "rdns", rdns)
        # The pairs of a multi-valued name are a set (X.501 §9.3); the relative names a sequence.
        key = tuple(frozenset((kind, fold(value)) for kind, value in rdn) for rdn in rdns)
        object.__setattr__(self, "_key", key)
        # Written once: a relay shows a peer's name many times for each message.
        text = ",".join(
            "+".join(f"{kind}={rfc4514.escape(value)}" for kind, value in rdn) for rdn in rdns
        )
        object.__setattr__(self, "_text", text)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form (RFC 4514, and what the list adds to it: DOMAIN §2.3).

        Raises InvalidName, saying what is wrong and where in the text.
        """
        return cls(rfc4514.split(text))

    @classmethod
    def from_x509(cls, name: x509.Name) -> Self:
        """Take a certificate's name, whatever its string types, in reverse order (DOMAIN §9.9)."""
        return cls(
            tuple(
                tuple((attribute.oid.dotted_string, _text(attribute)) for attribute in rdn)
                for rdn in reversed(name.rdns)
            )
        )

    @classmethod
    def from_certificate(cls, certificate: x509.Certificate) -> Self:
        """Take a certificate's subject. Raises InvalidName, also if its ASN.1 is unreadable."""
        return cls.from_x509(_decoded(lambda: certificate.subject))

    @classmethod
    def of_issuer(cls, certificate: x509.Certificate) -> Self:
        """Take the name of a certificate's issuer. Raises InvalidName, as from_certificate."""
        return cls.from_x509(_decoded(lambda: certificate.issuer))

    @property
    def attributes(self) -> tuple[tuple[str, str], ...]:
        """The (type, value) pairs in the order of RFC 4514, those of multi-valued names in line."""
        return tuple(pair for rdn in self.rdns for pair in rdn)

    @property
    def common_name(self) -> str | None:
        """The value of CN, or None where the name has none, or several to choose from."""
        values = [value for kind, value in self.attributes if kind == "CN"]
        return values[0] if len(values) == 1 else None

    def with_loose_department(self) -> Self:
        """Give the name with `Paris (75)` in its ST written `Paris(75)` (DOMAIN §9.8)."""
        rdns = tuple(
            tuple(
                (kind, value.replace(" (", "(") if kind == "ST" else value) for kind, value in rdn
            )
            for rdn in self.rdns
        )
        return type(self)(rdns)

    def __str__(self) -> str:
        """Write the name per RFC 4514 §2; parsing that gives an equal name."""
        return self._text


def label(certificate: x509.Certificate) -> str:
    """Name a certificate in a message, whatever its subject looks like."""
    try:
        return str(DistinguishedName.from_certificate(certificate))
    except InvalidName:
        return f"the certificate of serial number {certificate.serial_number:x}"


def _attribute(kind: str, value: str) -> tuple[str, str]:
    """Bring one pair to its canonical spelling; an unknown OID stays as it is."""
    canonical = _CANONICAL.get(kind.upper()) or (kind if kind[0].isdigit() else None)
    if canonical is None:
        raise InvalidName(
            f"unknown attribute type {kind[:40]} in a distinguished name: write its OID"
        )
    if len(value) > MAX_VALUE:
        raise InvalidName(
            f"the value of {canonical} has {len(value)} characters in a distinguished name, "
            f"more than {MAX_VALUE}"
        )
    tidied = tidy(value)
    if not tidied:
        raise InvalidName(f"the value of {canonical} is empty in a distinguished name")
    return canonical, tidied


def _text(attribute: x509.NameAttribute[str | bytes]) -> str:
    if isinstance(attribute.value, bytes):
        raise InvalidName(f"attribute {attribute.oid.dotted_string} of a certificate is not text")
    return attribute.value


def _decoded(read: Callable[[], x509.Name]) -> x509.Name:
    """Read a name that the library decodes only when asked, and then fails in several ways."""
    try:
        return read()
    except (ValueError, TypeError) as error:
        raise InvalidName(f"a name inside a certificate is unreadable: {error}") from error
