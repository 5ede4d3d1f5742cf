"""Endings of access that doors must act on at once: session ended, tokens refused. Pure.

A function that ends something returns its endings; its caller hands them to the doors of its own
process after the commit. Doors of other processes notice by `mailstore.accounts.changes`, and then
ask anew for each of their sessions.
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountEnded:
    """All sessions of the account end. `closed`: for good; else until it is resumed."""

    account: int
    at: datetime
    closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialEnded:
    """Sessions that began by this credential end."""

    credential: int
    account: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantEnded:
    """Sessions of the account, or of the members of the group, with the mailbox end."""

    grant: int
    mailbox: int
    account: int | None
    group: int | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipEnded:
    """Rights that the account had by the group end."""

    account: int
    group: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxEnded:
    """All sessions with the mailbox end. `closed`: for good; else until it is resumed."""

    mailbox: int
    at: datetime
    closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamMoveEnded:
    """Sessions with the mailbox that began by the shared password of its team end."""

    mailbox: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignmentEnded:
    """The account had taken the message; as its access ends, nobody has it."""

    mailbox: int
    message: str
    account: int
    at: datetime


Ending = (
    AccountEnded
    | CredentialEnded
    | GrantEnded
    | MembershipEnded
    | MailboxEnded
    | TeamMoveEnded
    | AssignmentEnded
)
