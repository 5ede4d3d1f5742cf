"""Tables [rights] and [inactivity]: rules of access to mailboxes, and of these that nobody uses."""

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from mailstore.mailboxes.identifiers import MailboxType
from mailstore.rights.inactivity_ladder import LadderPolicy
from mailstore.rights.model import TWO_FACTORS, RightsPolicy

from .base import Section

if TYPE_CHECKING:  # `model` imports this module
    from .model import Settings

_Type = Annotated[MailboxType, Field(strict=False)]
_Days = Annotated[int, Field(ge=1, le=3650)]


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


class InactivitySection(Section):
    """Mailboxes without a log-in for long: warnings, suspension, deletion (CNIL: a year)."""

    act: bool = Field(
        default=False,
        description="Whether the daemon warns and suspends. false: the steps are only listed by "
        "mssante report unused --mailboxes. Switch it on once all users log in here.",
    )
    types: list[_Type] = Field(
        default_factory=lambda: [MailboxType.PER, MailboxType.ORG, MailboxType.CAB],
        min_length=1,
        description="Types of mailboxes that the daemon warns and suspends. APP only if all "
        "programs log in by certificate: sending with mssante message send is no log-in.",
    )
    warn_days: list[_Days] = Field(
        default_factory=lambda: [270, 330],
        min_length=1,
        max_length=12,
        description="Days without a log-in after which a message into the mailbox warns.",
    )
    suspend_days: _Days = Field(
        365, description="Days after which it is suspended, and its mail refused."
    )
    delete_days: _Days = Field(
        395,
        description="Days after which it is listed for deletion, which a person does: mssante "
        "mailbox delete.",
    )

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        days = [*self.warn_days, self.suspend_days, self.delete_days]
        if days != sorted(set(days)):
            raise ValueError(
                f"warn_days, suspend_days and delete_days are {', '.join(map(str, days))}: each "
                "step must have more days than the step before"
            )
        return self


def rights_policy(settings: "Settings") -> RightsPolicy:
    """Policy of the pure function `mailstore.rights.may.may`."""
    rights = settings.rights
    return RightsPolicy(frozenset(rights.two_factors), rights.two_factors_for_roles)


def ladder_policy(settings: "Settings") -> LadderPolicy:
    """Days of each step."""
    section = settings.inactivity
    return LadderPolicy(tuple(section.warn_days), section.suspend_days, section.delete_days)
