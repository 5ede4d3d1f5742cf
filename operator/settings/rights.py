"""Table [rights]: rules of access to mailboxes that the operator sets."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mailstore.mailboxes.identifiers import MailboxType
from mailstore.rights.model import TWO_FACTORS, RightsPolicy

from .base import Section

if TYPE_CHECKING:  # `model` imports this module
    from .model import Settings

_Type = Annotated[MailboxType, Field(strict=False)]


class RightsSection(Section):
    """Access of persons and programs to mailboxes."""

    two_factors: list[_Type] = Field(
        default_factory=lambda: sorted(TWO_FACTORS),
        description="Types of mailboxes that a person opens only with two factors: a password with "
        "a code (TOTP), or an identity provider that states as much.",
    )
    two_factors_for_roles: bool = Field(
        default=True,
        description="Whether roles of administrators and break-glass accesses count only after a "
        "log-in with two factors.",
    )
    break_glass_persons: Annotated[int, Field(ge=1, le=2)] = Field(
        1,
        description="Persons needed before an administrator reads a mailbox; 2: another account "
        "must agree: mssante break-glass agree.",
    )
    break_glass_hours: Annotated[int, Field(ge=1, le=24)] = Field(
        4, description="Longest such access, in hours."
    )
    break_glass_tell: bool = Field(
        default=True,
        description="Whether a message into the mailbox tells its holder of each such access.",
    )
    unused_days: Annotated[int, Field(ge=1, le=3650)] = Field(
        270,
        description="Days without a log-in after which an account is in the report of unused ones; "
        "CNIL asks for an end after a year.",
    )


def rights_policy(settings: "Settings") -> RightsPolicy:
    """Policy of the pure function `mailstore.rights.may.may`."""
    rights = settings.rights
    return RightsPolicy(frozenset(rights.two_factors), rights.two_factors_for_roles)
