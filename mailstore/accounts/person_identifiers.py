"""National identifiers of persons, as held by accounts and as stated by an identity provider.

Pure. A person may have several, of which one may be replaced: since 2026 Pro Santé Connect can make
a PSI the national identity of a person whose RPPS then is among the others (DOMAIN §U3). So any
identifier that has not ended identifies the person, and two providers' statements are the same
person if they share one.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from mailstore.errors import InvalidIdentifier
from mailstore.mailboxes.identifiers import (
    LUHN_KINDS,
    IdentifierKind,
    parse_id_nat_ps,
    parse_identifier,
)


class PersonIdentifierKind(StrEnum):
    """RPPS, ADELI, or PSI: an identity of Pro Santé Connect that is neither."""

    RPPS = "RPPS"
    ADELI = "ADELI"
    PSI = "PSI"


# Seen: UUIDs, `500000001815646/CPAT00045`, `ANS20231122132732` (DOMAIN §U3).
_PSI: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9/._-]{3,63}")
_NATIONAL: Final = frozenset({"", "RPPS", "ADELI"})  # origins whose values may be idNat_PS
_ID_NAT_PS: Final = re.compile(r"8[0-9]{11}|0[0-9]{9}")


@dataclass(frozen=True, slots=True, order=True)
class PersonIdentifier:
    """An identifier of a person; its value is without the idNat type digit."""

    kind: PersonIdentifierKind
    value: str

    @classmethod
    def parse(cls, kind: str, text: str, *, luhn: frozenset[IdentifierKind] = LUHN_KINDS) -> Self:
        """Check an identifier that a person typed. Raises InvalidIdentifier."""
        found = PersonIdentifierKind(kind)
        if found is PersonIdentifierKind.PSI:
            return cls(found, _psi(text))
        return cls(found, parse_identifier(IdentifierKind(kind), text, luhn=luhn).value)

    @classmethod
    def stated(cls, origin: str, text: str) -> Self | None:
        """Read an identifier as an identity provider states it; None if it is of no use.

        `origin`: as in `otherIds` of Pro Santé Connect, or empty for `SubjectNameID`. An RPPS comes
        with its type digit 8, an ADELI with 0 (DOMAIN §1.5). Check digits are the provider's
        matter.
        """
        kind, value = origin.strip().upper(), text.strip()
        try:
            if kind in _NATIONAL and _ID_NAT_PS.fullmatch(value):
                inner = parse_id_nat_ps(value, luhn=frozenset())
                return cls(PersonIdentifierKind(inner.kind.value), inner.value)
            if kind and kind in _NATIONAL:
                return cls.parse(kind, value, luhn=frozenset())
            return cls(PersonIdentifierKind.PSI, _psi(value))
        except InvalidIdentifier:
            return None

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


def _psi(text: str) -> str:
    value = text.strip()
    if not _PSI.fullmatch(value):
        raise InvalidIdentifier(
            f"{text!r} is not a PSI: expected 4 to 64 letters, digits, slashes, dots, hyphens or"
            " underscores, as Pro Santé Connect states it"
        )
    # UUIDs are written in either case (RFC 9562 §4).
    return value.lower()
