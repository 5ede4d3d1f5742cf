"""`may`: the pure function that every door asks before an action on a mailbox.

The command line, IMAP, submission and the web ask the same question, as peers' mail is decided in
one place, `relay.policy.admission`. Denied is whatever no line here
allows. Checks in order: account, tenant, state of the mailbox, credential, then the source of the
right: holder, grant, group, break-glass access, role.

Content (READ, ACT, SEND) is for holders and grants alone (DOMAIN §9.36, §9.44, U1.2: no ordinary
way for administrators); READ also for a break-glass access. A program shows a certificate, and
opens no PER; a person opens no APP (DOMAIN §9.45). Roles and break-glass accesses count only after
a log-in with two factors, unless the policy says otherwise. The shared password of a team that
moves to named accounts opens the content of its mailbox until the grace ends, and manages nothing.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from mailstore.accounts.kinds import AccountKind, AccountState
from mailstore.credentials.proof import Method, Proof
from mailstore.mailboxes.identifiers import IdentifierKind, MailboxType
from mailstore.mailboxes.states import MailboxState
from mailstore.rights.model import (
    Action,
    ActorFacts,
    Grant,
    MailboxFacts,
    Reason,
    Right,
    RightsPolicy,
    Role,
    RoleName,
    TeamFacts,
    Verdict,
)

# The right that an action needs from a grant; actions that are absent need a role.
NEEDED: Final = {
    Action.READ: Right.READ,
    Action.ACT: Right.ACT,
    Action.SEND: Right.SEND,
    Action.MANAGE: Right.MANAGE,
}
CONTENT: Final = frozenset({Action.READ, Action.ACT, Action.SEND})
ALLOWED_BY_ROLE: Final = {
    RoleName.OPERATOR: frozenset(Action) - CONTENT,
    RoleName.MANAGER: frozenset({Action.MANAGE, Action.ADMINISTER}),
    RoleName.HELPDESK: frozenset({Action.TRACE}),
    RoleName.AUDITOR: frozenset({Action.TRACE, Action.AUDIT, Action.AGREE_CONTENT}),
}
_PERSONS: Final = frozenset({IdentifierKind.RPPS, IdentifierKind.ADELI})
_DEFAULT: Final = RightsPolicy()


def may(
    actor: ActorFacts | TeamFacts,
    action: Action,
    mailbox: MailboxFacts,
    at: datetime,
    policy: RightsPolicy = _DEFAULT,
) -> Verdict:
    """Decide whether the account may do this to the mailbox at this time, and say why."""
    if isinstance(actor, TeamFacts):
        refusal = _team(actor.proof, action, mailbox, at)
        return Verdict(allowed=refusal is None, reason=refusal or Reason.TEAM)
    counted = counting(actor, policy)
    verdict = _decide(counted, action, mailbox, at, policy)
    if verdict.allowed or counted is actor:
        return verdict
    with_two = _decide(actor, action, mailbox, at, policy)
    return Verdict(allowed=False, reason=Reason.ROLE_ONE_FACTOR) if with_two.allowed else verdict


def counting(actor: ActorFacts, policy: RightsPolicy = _DEFAULT) -> ActorFacts:
    """Return the facts that count: after one factor, neither roles nor break-glass accesses."""
    proof = actor.proof
    if proof is None or proof.factors > 1 or not policy.two_factors_for_roles:
        return actor
    if not (actor.roles or actor.break_glass):
        return actor
    return replace(actor, roles=(), break_glass=())


def _decide(
    actor: ActorFacts, action: Action, mailbox: MailboxFacts, at: datetime, policy: RightsPolicy
) -> Verdict:
    refusal = _account(actor, at, mailbox) or _credential(actor, action, mailbox, at, policy)
    if refusal is not None:
        return Verdict(allowed=False, reason=refusal)
    source = _source(actor, action, mailbox, at)
    return Verdict(allowed=source is not None, reason=source or Reason.NO_RIGHT)


def entitled(actor: ActorFacts, action: Action, mailbox: MailboxFacts, at: datetime) -> Verdict:
    """Decide as `may`, whatever the credential: for reports on accounts that are not logged in."""
    refusal = _account(actor, at, mailbox) or _state(action, mailbox)
    if refusal is not None:
        return Verdict(allowed=False, reason=refusal)
    source = _source(actor, action, mailbox, at)
    return Verdict(allowed=source is not None, reason=source or Reason.NO_RIGHT)


def may_with_role(
    roles: Iterable[Role], action: Action, tenant_id: int, domain_id: int | None, at: datetime
) -> bool:
    """True if a role allows an action on a whole tenant, or on one of its domains."""
    return any(
        action in ALLOWED_BY_ROLE[role.name]
        and role.period.holds(at)
        and _covers(role, tenant_id, domain_id)
        for role in roles
    )


def _team(proof: Proof, action: Action, mailbox: MailboxFacts, at: datetime) -> Reason | None:
    if proof.method is not Method.GRACE or action not in CONTENT:
        return Reason.WRONG_METHOD
    if proof.mailbox_id != mailbox.id:
        return Reason.OTHER_MAILBOX
    since, until = mailbox.grace_since, mailbox.grace_until
    # A proof from before the move is of an earlier one, whose password may have been another.
    if since is None or until is None or not (since <= proof.at and at < until):
        return Reason.GRACE_OVER
    return _state(action, mailbox)


def _account(actor: ActorFacts, at: datetime, mailbox: MailboxFacts) -> Reason | None:
    account = actor.account
    if account.state is not AccountState.ACTIVE:
        return Reason.ACCOUNT_NOT_ACTIVE
    if account.tenant_id != mailbox.tenant_id and not any(
        role.period.holds(at) and role.whole for role in actor.roles
    ):
        return Reason.OTHER_TENANT
    return None


def _state(action: Action, mailbox: MailboxFacts) -> Reason | None:
    if action in CONTENT and mailbox.state is not MailboxState.ACTIVE:
        return Reason.MAILBOX_NOT_ACTIVE
    return None


def _credential(
    actor: ActorFacts,
    action: Action,
    mailbox: MailboxFacts,
    at: datetime,
    policy: RightsPolicy,
) -> Reason | None:
    proof, until = actor.proof, actor.proof_until
    if proof is None or (until is not None and at >= until):
        return Reason.NOT_LOGGED_IN
    if proof.mailbox_id is not None and proof.mailbox_id != mailbox.id:
        return Reason.OTHER_MAILBOX
    if action not in CONTENT:
        # A password for programs, such as an app password, manages nothing.
        bound = proof.mailbox_id is not None
        return Reason.WRONG_METHOD if bound else None
    if _breaks_glass(actor, action, mailbox, at):
        return None  # an administrator's own credential; state and type of the mailbox aside
    return _state(action, mailbox) or _method(actor, mailbox, policy)


def _method(actor: ActorFacts, mailbox: MailboxFacts, policy: RightsPolicy) -> Reason | None:
    proof = actor.proof
    assert proof is not None  # noqa: S101 - checked by the caller
    program = actor.account.kind is AccountKind.SOFTWARE
    if proof.method is Method.GRACE:
        return Reason.WRONG_METHOD  # it is nobody's: see `_team`
    if program != (proof.method is Method.CERTIFICATE):
        return Reason.WRONG_METHOD
    closed_to = MailboxType.PER if program else MailboxType.APP
    if mailbox.type is closed_to:
        return Reason.WRONG_METHOD
    if not program and mailbox.type in policy.two_factors and proof.factors < 2:
        return Reason.ONE_FACTOR
    return None


def _source(
    actor: ActorFacts, action: Action, mailbox: MailboxFacts, at: datetime
) -> Reason | None:
    for reason, gives in _SOURCES:
        if gives(actor, action, mailbox, at):
            return reason
    return None


def holds(actor: ActorFacts, mailbox: MailboxFacts) -> bool:
    """True if the account is the person who holds the mailbox (DOMAIN §1.3, U3).

    Any identifier of the person that has not ended counts: one may be replaced by another.
    """
    if actor.account.kind is not AccountKind.PERSON:
        return False
    holders = mailbox.holders | {mailbox.identifier}
    return any(one.kind in _PERSONS for one in holders & actor.account.identifiers)


def _holds(actor: ActorFacts, action: Action, mailbox: MailboxFacts, at: datetime) -> bool:  # noqa: ARG001 - one signature for all sources
    same = actor.account.tenant_id == mailbox.tenant_id
    return same and action in NEEDED and holds(actor, mailbox)


def _granted(actor: ActorFacts, action: Action, mailbox: MailboxFacts, at: datetime) -> bool:
    account = actor.account
    return account.tenant_id == mailbox.tenant_id and any(
        one.account_id == account.id and _gives(one, action, mailbox, at) for one in actor.grants
    )


def _granted_to_group(
    actor: ActorFacts, action: Action, mailbox: MailboxFacts, at: datetime
) -> bool:
    account = actor.account
    return account.tenant_id == mailbox.tenant_id and any(
        one.group_id in account.groups and _gives(one, action, mailbox, at) for one in actor.grants
    )


def _gives(grant: Grant, action: Action, mailbox: MailboxFacts, at: datetime) -> bool:
    return (
        grant.mailbox_id == mailbox.id
        and NEEDED.get(action) in grant.rights
        # Until its end, a grant is worth what it says: begin and end are checked at each question.
        and grant.period.holds(at)
    )


def _breaks_glass(actor: ActorFacts, action: Action, mailbox: MailboxFacts, at: datetime) -> bool:
    # Whoever lost the role by which the access was asked for has lost the access too.
    return (
        action is Action.READ
        and any(one.mailbox_id == mailbox.id and one.period.holds(at) for one in actor.break_glass)
        and _has_role(actor, Action.ASK_CONTENT, mailbox, at)
    )


def _has_role(actor: ActorFacts, action: Action, mailbox: MailboxFacts, at: datetime) -> bool:
    # A role for a domain that has moved to another tenant counts no more.
    same = actor.account.tenant_id == mailbox.tenant_id
    roles = [role for role in actor.roles if same or role.whole]
    return may_with_role(roles, action, mailbox.tenant_id, mailbox.domain_id, at)


def _covers(role: Role, tenant_id: int, domain_id: int | None) -> bool:
    if role.domain_id is not None:
        return role.domain_id == domain_id
    return role.tenant_id is None or role.tenant_id == tenant_id


_SOURCES: Final[
    tuple[tuple[Reason, Callable[[ActorFacts, Action, MailboxFacts, datetime], bool]], ...]
] = (
    (Reason.HOLDER, _holds),
    (Reason.GRANT, _granted),
    (Reason.GROUP, _granted_to_group),
    (Reason.BREAK_GLASS, _breaks_glass),
    (Reason.ROLE, _has_role),
)
