"""Scope of an administrator: the part of the operator for which roles give an action. Pure.

Lists and reports show what is in it, and acts on what is no mailbox yet (a new mailbox, a group, an
account) ask for it. A role for a tenant or a domain counts within the tenant of its account alone.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from mailstore.accounts.kinds import AccountState
from mailstore.rights.may import ALLOWED_BY_ROLE, counting
from mailstore.rights.model import Action, ActorFacts, Reason, RightsPolicy, Verdict
from mailstore.scope.model import Scope

# Lists and reports show an account the mailboxes for which it has one of these, and all on them.
LISTING: Final = frozenset({Action.ADMINISTER, Action.MANAGE, Action.TRACE, Action.AUDIT})
_DEFAULT: Final = RightsPolicy()


def scope_of(
    actor: ActorFacts,
    actions: frozenset[Action],
    at: datetime,
    policy: RightsPolicy = _DEFAULT,
) -> Scope:
    """Return the part for which roles give the account at least one of these actions."""
    if _refusal(actor, at) is not None:
        return Scope(home=actor.account.tenant_id)
    return _covered(counting(actor, policy), actions, at)


def may_by_role(
    actor: ActorFacts,
    actions: frozenset[Action],
    covered: Callable[[Scope], bool],
    at: datetime,
    policy: RightsPolicy = _DEFAULT,
) -> Verdict:
    """Decide whether roles give one of these actions for a part, for which `covered` is true."""
    refusal = _refusal(actor, at)
    if refusal is not None:
        return Verdict(allowed=False, reason=refusal)
    if covered(scope_of(actor, actions, at, policy)):
        return Verdict(allowed=True, reason=Reason.ROLE)
    weak = covered(_covered(actor, actions, at))
    return Verdict(allowed=False, reason=Reason.ROLE_ONE_FACTOR if weak else Reason.NO_RIGHT)


def _refusal(actor: ActorFacts, at: datetime) -> Reason | None:
    if actor.account.state is not AccountState.ACTIVE:
        return Reason.ACCOUNT_NOT_ACTIVE
    until = actor.proof_until
    if actor.proof is None or (until is not None and at >= until):
        return Reason.NOT_LOGGED_IN
    # A password for programs, such as an app password, manages nothing.
    return None if actor.proof.mailbox_id is None else Reason.WRONG_METHOD


def _covered(actor: ActorFacts, actions: frozenset[Action], at: datetime) -> Scope:
    home = actor.account.tenant_id
    roles = [
        role
        for role in actor.roles
        if role.period.holds(at) and ALLOWED_BY_ROLE[role.name] & actions
    ]
    return Scope(
        home=home,
        whole=any(role.whole for role in roles),
        entire=any(role.domain_id is None and role.tenant_id == home for role in roles),
        domains=frozenset(role.domain_id for role in roles if role.domain_id is not None),
    )
