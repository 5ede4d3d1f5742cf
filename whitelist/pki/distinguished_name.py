"""Distinguished names of certificates, compared as names and not as strings.

The white list binds a domain to the certificate names of its operator. It spells the same name in
several ways: quoted or not, with double or no-break spaces, with spaces after commas. Here a name
is its parsed attributes in the order of RFC 4514 (the reverse of the certificate's). Two names are
equal if types, order and folded values are equal (DOMAIN §9.8, §9.9, `whitelist.pki.name_folding`).
No further tolerance: `Paris (75)` and `Paris(75)` differ.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from cryptography import x509

from whitelist.errors import InvalidName
from whitelist.pki import rfc4514
from whitelist.pki.name_folding import fold, tidy
from whitelist.pki.rfc4514 import Rdns

# Types by OID: the nine of RFC 4514 §3, then other types in certificates of persons and
# organisations (RFC 4519 §2, X.520, RFC 2985); the first spelling is written.
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
"""Longest value of an attribute, in characters; RFC 5280 A.1 allows the common types 255.

A comparison of combining marks costs the square of the value's length.
"""
MAX_ATTRIBUTES = 32
"""Most attributes of a name; real names have five."""


@dataclass(frozen=True, slots=True)
class DistinguishedName:
    """A distinguished name, usable as a dictionary key.

    `rdns` are the relative names in the order of RFC 4514 (CN first), each a tuple of (type, value)
    pairs: a single pair, except in multi-valued names. Types are in their usual short spelling,
    values tidied with their case kept. Raises InvalidName for a name without attributes, an empty
    value, an unknown attribute type, more than MAX_ATTRIBUTES attributes, or more than MAX_VALUE
    characters in a value.
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
        # The pairs of a multi-valued name are a set (X.501 §9.3), the relative names a sequence.
        key = tuple(frozenset((kind, fold(value)) for kind, value in rdn) for rdn in rdns)
        object.__setattr__(self, "_key", key)
        # Formatted once: a relay shows a peer's name many times for each message.
        text = ",".join(
            "+".join(f"{kind}={rfc4514.escape(value)}" for kind, value in rdn) for rdn in rdns
        )
        object.__setattr__(self, "_text", text)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the text form (RFC 4514, with the white list's deviations: DOMAIN §2.3).

        Raises InvalidName, with the fault and its place in the text.
        """
        return cls(rfc4514.split(text))

    @classmethod
    def from_x509(cls, name: x509.Name) -> Self:
        """Convert a certificate's name, of any string types, in reverse order (DOMAIN §9.9)."""
        return cls(
            tuple(
                tuple((attribute.oid.dotted_string, _text(attribute)) for attribute in rdn)
                for rdn in reversed(name.rdns)
            )
        )

    @classmethod
    def from_certificate(cls, certificate: x509.Certificate) -> Self:
        """Read a certificate's subject. Raises InvalidName, also for unreadable ASN.1."""
        return cls.from_x509(_decoded(lambda: certificate.subject))

    @classmethod
    def of_issuer(cls, certificate: x509.Certificate) -> Self:
        """Read the name of a certificate's issuer. Raises InvalidName, as from_certificate."""
        return cls.from_x509(_decoded(lambda: certificate.issuer))

    @property
    def attributes(self) -> tuple[tuple[str, str], ...]:
        """The (type, value) pairs in the order of RFC 4514, multi-valued names flattened."""
        return tuple(pair for rdn in self.rdns for pair in rdn)

    @property
    def common_name(self) -> str | None:
        """The value of CN; None if the name has no CN or several."""
        values = [value for kind, value in self.attributes if kind == "CN"]
        return values[0] if len(values) == 1 else None

    @property
    def folded(self) -> str:
        """The text that equal names share, to be stored and looked up; not for people."""
        return ",".join(
            "+".join(f"{kind}={rfc4514.escape(value)}" for kind, value in sorted(rdn))
            for rdn in self._key
        )

    def with_loose_department(self) -> Self:
        """Return the name with `Paris (75)` in its ST written `Paris(75)` (DOMAIN §9.8)."""
        rdns = tuple(
            tuple(
                (kind, value.replace(" (", "(") if kind == "ST" else value) for kind, value in rdn
            )
            for rdn in self.rdns
        )
        return type(self)(rdns)

    def __str__(self) -> str:
        """Format per RFC 4514 §2; the parsed result is an equal name."""
        return self._text


def label(certificate: x509.Certificate) -> str:
    """Format a certificate's subject for a message; never fails."""
    try:
        return str(DistinguishedName.from_certificate(certificate))
    except InvalidName:
        return f"the certificate of serial number {certificate.serial_number:x}"


def _attribute(kind: str, value: str) -> tuple[str, str]:
    """Return a pair in canonical spelling; an unknown OID stays as it is."""
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
    """Read a name that the library decodes only on access, with various errors."""
    try:
        return read()
    except (ValueError, TypeError) as error:
        raise InvalidName(f"a name inside a certificate is unreadable: {error}") from error
