"""Facts and verdicts of rights: accounts, grants, roles, proofs of identity, mailboxes.

Pure values. Times are aware; an end is exclusive: a grant that ends at noon is over at noon.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from mailstore.accounts.kinds import AccountKind, AccountState
from mailstore.credentials.proof import Proof
from mailstore.mailboxes.identifiers import Identifier, MailboxType
from mailstore.mailboxes.states import MailboxState


class Right(StrEnum):
    """Right that a grant gives on a mailbox."""

    READ = "read"
    ACT = "act"
    SEND = "send"
    MANAGE = "manage"


class Action(StrEnum):
    """Action that a door asks about."""

    READ = "read"  # lists and content
    ACT = "act"  # flags, moves, claims, notes, deletion
    SEND = "send"
    MANAGE = "manage"  # grants on the mailbox and its credentials
    ADMINISTER = "administer"  # attributes, state, aliases, quota
    TRACE = "trace"  # when, where and who, never content
    AUDIT = "audit"  # the audit trail of the mailbox
    ROLES = "roles"  # giving and ending roles
    ASK_CONTENT = "ask-content"  # asking for a break-glass access
    AGREE_CONTENT = "agree-content"  # agreeing to it as the second person
    QUEUE = "queue"  # deliveries by hand, pauses, hold rules: for the whole operator alone


class RoleName(StrEnum):
    """Role of an administrator."""

    OPERATOR = "operator"
    HELPDESK = "helpdesk"
    AUDITOR = "auditor"
    MANAGER = "manager"


@dataclass(frozen=True, slots=True)
class ActingAccount:
    """Account that acts, with the national identifiers that have not ended, and its groups."""

    id: int
    login: str
    tenant_id: int
    kind: AccountKind
    state: AccountState
    identifiers: frozenset[Identifier] = frozenset()
    groups: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Period:
    """Time from `begins` to before `ends`; None: no end."""

    begins: datetime
    ends: datetime | None = None

    def holds(self, at: datetime) -> bool:
        """True within the period."""
        return self.begins <= at and (self.ends is None or at < self.ends)


@dataclass(frozen=True, slots=True)
class Grant:
    """Rights of an account or a group on a mailbox, for a period."""

    mailbox_id: int
    rights: frozenset[Right]
    period: Period
    account_id: int | None = None
    group_id: int | None = None


@dataclass(frozen=True, slots=True)
class Role:
    """Role of an account, for the whole operator, a tenant, or a domain."""

    name: RoleName
    period: Period
    tenant_id: int | None = None
    domain_id: int | None = None

    @property
    def whole(self) -> bool:
        """True if it is for the whole operator."""
        return self.tenant_id is None and self.domain_id is None


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """Access of an administrator to the content of one mailbox, agreed by all who must agree."""

    mailbox_id: int
    period: Period


@dataclass(frozen=True, slots=True)
class ActorFacts:
    """All that is known of the account that asks: its grants, roles and break-glass accesses.

    `proof` is None where nobody logged in, as in a report of rights, or where a credential of it
    was revoked; `proof_until`: end of its first credential with one.
    """

    account: ActingAccount
    proof: Proof | None
    grants: tuple[Grant, ...] = ()
    roles: tuple[Role, ...] = ()
    break_glass: tuple[BreakGlass, ...] = ()
    proof_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class TeamFacts:
    """A person behind the shared password of a team that moves: nobody knows which."""

    proof: Proof


@dataclass(frozen=True, slots=True)
class MailboxFacts:
    """All that is known of the mailbox. `holders`: co-holders of a CAB, by RPPS.

    `grace_since` and `grace_until`: time in which a team moves from its shared log-in; None: no
    move.
    """

    id: int
    type: MailboxType
    state: MailboxState
    tenant_id: int
    domain_id: int
    identifier: Identifier
    holders: frozenset[Identifier] = frozenset()
    grace_since: datetime | None = None
    grace_until: datetime | None = None


TWO_FACTORS: Final = frozenset({MailboxType.ORG, MailboxType.CAB})


@dataclass(frozen=True, slots=True)
class RightsPolicy:
    """Rules that the operator sets.

    `two_factors`: types of mailboxes that need two factors. `two_factors_for_roles`: whether roles
    and break-glass accesses do.
    """

    two_factors: frozenset[MailboxType] = TWO_FACTORS
    two_factors_for_roles: bool = True


class Reason(StrEnum):
    """Reason of a verdict; the texts are in `TEXTS`."""

    HOLDER = "holder"
    GRANT = "grant"
    GROUP = "group"
    ROLE = "role"
    BREAK_GLASS = "break-glass"
    TEAM = "team"
    NOT_LOGGED_IN = "not-logged-in"
    ACCOUNT_NOT_ACTIVE = "account-not-active"
    OTHER_TENANT = "other-tenant"
    MAILBOX_NOT_ACTIVE = "mailbox-not-active"
    OTHER_MAILBOX = "other-mailbox"
    WRONG_METHOD = "wrong-method"
    ONE_FACTOR = "one-factor"
    ROLE_ONE_FACTOR = "role-one-factor"
    GRACE_OVER = "grace-over"
    NO_RIGHT = "no-right"


TEXTS: Final[Mapping[Reason, str]] = {
    Reason.HOLDER: "the account holds the mailbox",
    Reason.GRANT: "a grant gives the right",
    Reason.GROUP: "a grant of a group gives the right",
    Reason.ROLE: "a role gives the right",
    Reason.BREAK_GLASS: "a break-glass access gives the right",
    Reason.TEAM: "the shared password of a team that moves gives the right, for a time",
    Reason.NOT_LOGGED_IN: "no credential was shown",
    Reason.ACCOUNT_NOT_ACTIVE: "the account is suspended or closed",
    Reason.OTHER_TENANT: "the account and the mailbox belong to different tenants",
    Reason.MAILBOX_NOT_ACTIVE: "the mailbox is not active",
    Reason.OTHER_MAILBOX: "the credential is for another mailbox",
    Reason.WRONG_METHOD: "a credential of this kind does not open a mailbox of this type",
    Reason.ONE_FACTOR: "the mailbox needs two factors, and one was shown",
    Reason.ROLE_ONE_FACTOR: "a role counts only after a log-in with two factors (--code)",
    Reason.GRACE_OVER: "the time of the shared password is over: log in with an account",
    Reason.NO_RIGHT: "no grant, holder or role gives the right",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Verdict of `may`."""

    allowed: bool
    reason: Reason

    @property
    def text(self) -> str:
        """Reason in a line, for administrators and logs."""
        return TEXTS[self.reason]
