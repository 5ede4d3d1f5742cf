"""National identifiers of persons and structures: forms and check digits.

Pure validation after DOMAIN §1.5. An `Identifier` always has the form of its kind. The parsing
functions do the Luhn check, which can be switched off for each kind: this check was measured on
real data (for the RPPS: inferred), not read in a national text, and illustrative values fail it.
SIRET numbers of La Poste do not follow Luhn: switch the check off to register one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from mailstore.errors import InvalidIdentifier


class IdentifierKind(StrEnum):
    """Kind of identifier, of a person (RPPS, ADELI) or a structure (the others)."""

    RPPS = "RPPS"
    ADELI = "ADELI"
    FINESS = "FINESS"
    SIREN = "SIREN"
    SIRET = "SIRET"
    RPPS_RANG = "RPPS_RANG"


class MailboxType(StrEnum):
    """The type of a BAL, code system TRE_R257-TypeBAL (DOMAIN §1.3)."""

    PER = "PER"
    ORG = "ORG"
    APP = "APP"
    CAB = "CAB"


_RPPS_RANG_LENGTH = 14  # an RPPS, an order of 2 digits and a key

_FORMS = {
    IdentifierKind.RPPS: (re.compile(r"[0-9]{11}"), "11 digits"),
    IdentifierKind.ADELI: (re.compile(r"[0-9]{9}"), "9 digits"),
    IdentifierKind.FINESS: (
        re.compile(r"[0-9]{9}|2[AB][0-9]{7}"),
        "9 digits, or 2A or 2B and 7 digits in Corsica",
    ),
    IdentifierKind.SIREN: (re.compile(r"[0-9]{9}"), "9 digits"),
    IdentifierKind.SIRET: (re.compile(r"[0-9]{14}"), "14 digits"),
    IdentifierKind.RPPS_RANG: (re.compile(r"[0-9]{14}"), "14 digits"),
}

# A liberal practice is a structure by the RPPS-rang of its holder (DOMAIN U1.4).
_STRUCTURES = frozenset(
    {
        IdentifierKind.FINESS,
        IdentifierKind.SIRET,
        IdentifierKind.SIREN,
        IdentifierKind.RPPS_RANG,
    }
)

# Since 2025, ORG mailboxes of practices without a structure number may have an RPPS.
ATTACHMENTS: dict[MailboxType, frozenset[IdentifierKind]] = {
    MailboxType.PER: frozenset({IdentifierKind.RPPS, IdentifierKind.ADELI}),
    MailboxType.ORG: _STRUCTURES | {IdentifierKind.RPPS},
    MailboxType.APP: _STRUCTURES,
    MailboxType.CAB: frozenset({IdentifierKind.RPPS}),
}

_ID_NAT_PS = {"0": IdentifierKind.ADELI, "8": IdentifierKind.RPPS}
_ID_NAT_STRUCT = {
    "0": IdentifierKind.ADELI,
    "1": IdentifierKind.FINESS,
    "2": IdentifierKind.SIREN,
    "3": IdentifierKind.SIRET,
    "4": IdentifierKind.RPPS_RANG,
}

# Kinds with a Luhn key. No key is documented for ADELI, so none is checked (DOMAIN §1.5).
LUHN_KINDS = frozenset(IdentifierKind) - {IdentifierKind.ADELI}


@dataclass(frozen=True, slots=True)
class Identifier:
    """A national identifier: its kind, and its value without the idNat type digit.

    Raises InvalidIdentifier if the value does not have the form of the kind.
    """

    kind: IdentifierKind
    value: str

    def __post_init__(self) -> None:
        pattern, form = _FORMS[self.kind]
        if not pattern.fullmatch(self.value):
            raise InvalidIdentifier(f"{self.value!r} is not a {self.kind} number: expected {form}")

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


def stored_kind(identifier: Identifier) -> str:
    """Kind as stored in the database, where an RPPS-rang is an RPPS of 14 digits.

    The schema's list of kinds is older, and SQLite cannot change it while messages refer to
    mailboxes; the length distinguishes the two.
    """
    rang = identifier.kind is IdentifierKind.RPPS_RANG
    return (IdentifierKind.RPPS if rang else identifier.kind).value


def read_stored(kind: str, value: str) -> Identifier:
    """Return the identifier of a stored row (see `stored_kind`). Raises InvalidIdentifier."""
    rang = kind == IdentifierKind.RPPS and len(value) == _RPPS_RANG_LENGTH
    return Identifier(IdentifierKind.RPPS_RANG if rang else IdentifierKind(kind), value)


def luhn_valid(digits: str) -> bool:
    """True if ASCII digits, key included, satisfy Luhn's check (ISO/IEC 7812-1 annex B)."""
    total = 0
    for place, character in enumerate(reversed(digits)):
        weighted = int(character) * (1 + place % 2)
        total += weighted - 9 if weighted > 9 else weighted
    return total % 10 == 0


def parse_identifier(
    kind: IdentifierKind, value: str, *, luhn: frozenset[IdentifierKind] = LUHN_KINDS
) -> Identifier:
    """Parse a bare identifier, stripped of white space; `luhn` names the kinds to check.

    Raises InvalidIdentifier (DOMAIN §1.5, §9.35). A Corsican FINESS has letters and no usable key.
    """
    identifier = Identifier(kind, value.strip())
    keyed = kind in luhn and kind in LUHN_KINDS and identifier.value.isdigit()
    if keyed and not luhn_valid(identifier.value):
        raise InvalidIdentifier(f"{identifier}: the check digit (Luhn) is wrong, a typing error?")
    return identifier


def parse_id_nat_ps(value: str, *, luhn: frozenset[IdentifierKind] = LUHN_KINDS) -> Identifier:
    """Parse an idNat_PS: `0` and an ADELI, or `8` and an RPPS. Raises InvalidIdentifier."""
    return _parse_prefixed("idNat_PS", _ID_NAT_PS, value, luhn)


def parse_id_nat_struct(value: str, *, luhn: frozenset[IdentifierKind] = LUHN_KINDS) -> Identifier:
    """Parse an idNat_Struct, which is also the OU of an IGC-Santé certificate (DOMAIN §1.5).

    `0` ADELI, `1` FINESS, `2` SIREN, `3` SIRET, `4` RPPS-rang. Raises InvalidIdentifier.
    """
    return _parse_prefixed("idNat_Struct", _ID_NAT_STRUCT, value, luhn)


def id_nat_ps(identifier: Identifier) -> str:
    """Format a person's identifier as idNat_PS. Raises InvalidIdentifier for a structure's."""
    return _prefixed("idNat_PS", _ID_NAT_PS, identifier)


def id_nat_struct(identifier: Identifier) -> str:
    """Format an identifier as idNat_Struct. Raises InvalidIdentifier for a bare RPPS."""
    return _prefixed("idNat_Struct", _ID_NAT_STRUCT, identifier)


def check_attachment(mailbox_type: MailboxType, identifier: Identifier) -> None:
    """Raise InvalidIdentifier unless a BAL of this type may have this kind (DOMAIN §1.3)."""
    kinds = ATTACHMENTS[mailbox_type]
    if identifier.kind not in kinds:
        raise InvalidIdentifier(
            f"a {mailbox_type} mailbox cannot hang on {identifier}:"
            f" give one of {', '.join(sorted(kinds))}"
        )


def identifier_and_structure(
    mailbox_type: MailboxType, given: Sequence[Identifier]
) -> tuple[Identifier, Identifier | None] | None:
    """Tell identifier and structure apart among those given, an RPPS first; None if unclear."""
    if len(given) == 1:
        return given[0], None
    pair = len(given) == 2 and mailbox_type is MailboxType.PER
    if pair and given[0].kind is IdentifierKind.RPPS:
        return given[0], given[1]
    return None


def check_structure(
    mailbox_type: MailboxType, identifier: Identifier, structure: Identifier | None
) -> None:
    """Raise InvalidIdentifier unless a BAL may have this structure beside its identifier.

    Only a PER BAL may: RPPS and structure are one work situation of a person (DOMAIN §1.3).
    """
    if structure is None:
        return
    if structure.kind not in _STRUCTURES:
        raise InvalidIdentifier(f"{structure} is no structure: give a FINESS, SIRET or SIREN")
    if mailbox_type is not MailboxType.PER or identifier.kind is not IdentifierKind.RPPS:
        raise InvalidIdentifier(
            f"a {mailbox_type} mailbox on {identifier} has no structure beside it:"
            " only a PER mailbox on an RPPS may have one"
        )


def _parse_prefixed(
    name: str, kinds: dict[str, IdentifierKind], value: str, luhn: frozenset[IdentifierKind]
) -> Identifier:
    text = value.strip()
    kind = kinds.get(text[:1])
    if kind is None:
        known = ", ".join(f"{digit} ({kind})" for digit, kind in kinds.items())
        raise InvalidIdentifier(f"{value!r} is not an {name}: it must start with one of {known}")
    return parse_identifier(kind, text[1:], luhn=luhn)


def _prefixed(name: str, kinds: dict[str, IdentifierKind], identifier: Identifier) -> str:
    for digit, kind in kinds.items():
        if kind is identifier.kind:
            return digit + identifier.value
    raise InvalidIdentifier(f"{identifier} has no {name} form")
