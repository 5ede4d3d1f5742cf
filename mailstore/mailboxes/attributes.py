"""Attributes of a mailbox by its type, after the national directory (DOMAIN §1.4, §9.38, U4).

Pure. `phone` and `digitization` are gone from the directory, so they are no attributes here.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final
from unicodedata import category

from mailstore.errors import InvalidAttribute
from mailstore.mailboxes.identifiers import MailboxType


class Attribute(StrEnum):
    """An attribute that may be changed; its value is the name of its column."""

    DESCRIPTION = "description"
    SERVICE = "service"
    RESPONSIBLE = "responsible"
    RED_LIST = "red_list"
    RANK = "rank"
    NO_REPLY = "no_reply"


# Text, number or yes and no; None takes an attribute away.
Value = str | int | bool | None
Values = Mapping[Attribute, Value]

_ALL: Final = frozenset(MailboxType)
_PER, _ORG, _APP, _CAB = MailboxType.PER, MailboxType.ORG, MailboxType.APP, MailboxType.CAB

TYPES: Final[Mapping[Attribute, frozenset[MailboxType]]] = {
    Attribute.DESCRIPTION: frozenset({_ORG, _APP, _CAB}),
    Attribute.SERVICE: frozenset({_ORG, _APP}),
    Attribute.RESPONSIBLE: frozenset({_ORG, _APP}),
    Attribute.RED_LIST: _ALL,
    Attribute.RANK: _ALL,
    Attribute.NO_REPLY: frozenset({_APP}),
}

# Lengths in the directory by a single weak source (DOMAIN §1.4): a warning, no refusal.
DIRECTORY_LENGTHS: Final[Mapping[Attribute, int]] = {
    Attribute.DESCRIPTION: 75,
    Attribute.SERVICE: 90,
    Attribute.RESPONSIBLE: 45,
}
LONGEST: Final = 250  # characters of a text: beyond, a mistake
LAST_RANK: Final = 999

# Controls, directions of writing, surrogates and line ends, which listings must never print.
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def check_values(mailbox_type: MailboxType, values: Values) -> dict[Attribute, Value]:
    """Return the values as stored: texts stripped, an empty text as None.

    Raises InvalidAttribute for an attribute that the type has not, or a value out of bounds; a
    responsible person may not be taken from an ORG mailbox (DOMAIN §9.36).
    """
    checked: dict[Attribute, Value] = {}
    for attribute, value in values.items():
        types = TYPES[attribute]
        # Version 0.1 let any type have a description, which can be taken away still.
        if mailbox_type not in types and value is not None and _checked(attribute, value):
            owners = ", ".join(sorted(types))
            raise InvalidAttribute(f"a {mailbox_type} mailbox has no {attribute}: only {owners}")
        checked[attribute] = _checked(attribute, value)
    if mailbox_type is MailboxType.ORG and checked.get(Attribute.RESPONSIBLE, "") is None:
        raise InvalidAttribute("an ORG mailbox needs a responsible person: name another one")
    return checked


def need_responsible(mailbox_type: MailboxType, values: Values) -> None:
    """Raise InvalidAttribute for a new ORG mailbox without a responsible person (DOMAIN §9.36)."""
    if mailbox_type is MailboxType.ORG and not values.get(Attribute.RESPONSIBLE):
        raise InvalidAttribute(
            "an ORG mailbox needs a responsible person: give the name as responsible"
        )


def directory_warnings(values: Values) -> Iterator[str]:
    """Yield a line for each text that the national directory may cut."""
    for attribute, most in DIRECTORY_LENGTHS.items():
        value = values.get(attribute)
        if isinstance(value, str) and len(value) > most:
            yield (
                f"{attribute} has {len(value)} characters: the national directory may cut it"
                f" at {most}"
            )


def check_reason(reason: str) -> str:
    """Return a reason for a change of state, stripped. Raises InvalidAttribute."""
    text = _text("reason", reason)
    if text is None:
        raise InvalidAttribute("the reason is empty: say why, for whoever reads the trail")
    return text


def _checked(attribute: Attribute, value: Value) -> Value:
    if attribute in {Attribute.RED_LIST, Attribute.NO_REPLY}:
        return bool(value)
    if attribute is Attribute.RANK:
        if value is not None and not 1 <= int(value) <= LAST_RANK:
            raise InvalidAttribute(f"rank {value} is not from 1 (the preferred) to {LAST_RANK}")
        return value
    return None if value is None else _text(attribute, str(value))


def _text(name: str, value: str) -> str | None:
    text = value.strip()
    if len(text) > LONGEST:
        raise InvalidAttribute(f"{name} has {len(text)} characters, and {LONGEST} are the most")
    if any(category(one) in _INVISIBLE for one in text):
        raise InvalidAttribute(f"{name} {text!r} has an invisible character or a line end")
    return text or None
