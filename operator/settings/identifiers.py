"""Table [identifiers]: kinds of national identifiers whose check digit is verified."""

from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from mailstore.mailboxes.identifiers import IdentifierKind

from .base import Section

if TYPE_CHECKING:  # `model` imports this module
    from .model import Settings

_Keyed = Literal["RPPS", "FINESS", "SIREN", "SIRET", "RPPS_RANG"]
_ALL: Final[tuple[_Keyed, ...]] = ("RPPS", "FINESS", "SIREN", "SIRET", "RPPS_RANG")


class IdentifiersSection(Section):
    """National identifiers of the holders of mailboxes."""

    luhn: list[_Keyed] = Field(
        default_factory=lambda: list(_ALL),
        description="Kinds whose last digit must be right (Luhn) where a mailbox is added. Numbers "
        "that ANS prints as examples, and SIRET of La Poste, fail: leave their kind out.",
    )


def luhn_kinds(settings: "Settings") -> frozenset[IdentifierKind]:
    """Kinds of identifiers whose check digit is verified."""
    return frozenset(map(IdentifierKind, settings.identifiers.luhn))
