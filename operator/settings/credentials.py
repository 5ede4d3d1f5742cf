"""Tables [accounts] and [credentials]: persons and programs, and what they log in with."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mailstore.credentials.app_passwords import AppPasswordPolicy
from mailstore.mailboxes.identifiers import MailboxType

from .base import Section

if TYPE_CHECKING:  # `model` imports this module
    from .model import Settings

_Opened = Literal["PER", "ORG", "CAB"]


class AccountsSection(Section):
    """Accounts of persons and programs."""

    keep_closed_days: Annotated[int, Field(ge=183, le=36_500)] = Field(
        1095,
        description="Days after its closing for which an account keeps names, identifiers, "
        "credentials and grants. Its log-in name stays, so that nobody else gets it.",
    )


class CredentialsSection(Section):
    """Passwords, codes and app passwords of accounts."""

    app_passwords: list[_Opened] = Field(
        default_factory=list,
        description="Types of mailboxes that app passwords may open, for mail programs that know "
        "nothing better; they count as one factor. APP never: programs have certificates.",
        examples=[["PER"]],
    )
    app_password_days: Annotated[int, Field(ge=1, le=3650)] = Field(
        365, description="Longest life of an app password, in days."
    )
    password_hashes: Annotated[int, Field(ge=1, le=64)] = Field(
        2,
        description="Passwords that a process checks at once, each with 64 MiB of memory; other "
        "log-ins wait for their turn.",
    )


def app_password_policy(settings: "Settings") -> AppPasswordPolicy:
    """Rules of app passwords."""
    section = settings.credentials
    return AppPasswordPolicy(
        frozenset(map(MailboxType, section.app_passwords)), section.app_password_days
    )
