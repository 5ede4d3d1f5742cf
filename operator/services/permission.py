"""Answers of the rules to the account behind a command, within one transaction.

An address, domain, tenant, account or number of another tenant gets the answer of one that does not
exist, so that nobody learns what others have (docs/decisions/0087). The audit trail has the reason.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NoReturn

from sqlalchemy import Connection

from mailstore.accounts.accounts import Account, find_account, get_account
from mailstore.accounts.tenants import Tenant, get_tenant
from mailstore.audit.event import AuditActor
from mailstore.db.people_schema import OPERATOR_TENANT
from mailstore.errors import NotFound
from mailstore.mailboxes.address import address_key
from mailstore.mailboxes.identifiers import Identifier, MailboxType
from mailstore.mailboxes.mailboxes import get_domain, get_mailbox
from mailstore.rights.coverage import Coverage, load_coverage
from mailstore.rights.facts import load_mailbox
from mailstore.rights.grants import Grantee
from mailstore.rights.may import may
from mailstore.rights.model import (
    Action,
    ActorFacts,
    MailboxFacts,
    Reason,
    RightsPolicy,
    TeamFacts,
    Verdict,
)
from mailstore.rights.scope import LISTING, may_by_role, scope_of
from mailstore.scope.model import WHOLE, Scope

from ..errors import OperatorError

_TO_ITSELF: Final = "may not give itself access to content by a role: let another person do it"
_DOING: Final = {
    Action.ASK_CONTENT: "open an access to the content of",
    Action.AGREE_CONTENT: "agree to an access to the content of",
    Action.AUDIT: "read the audit trail of",
    Action.ROLES: "give or end the roles of",
}
_TOLD: Final = frozenset({Reason.ROLE_ONE_FACTOR, Reason.ACCOUNT_NOT_ACTIVE})


class NotAllowed(OperatorError):
    """Act that the account may not do; the refusal is in the audit trail.

    `why`: reason for the audit trail, where the account is told less. `tenant`: the account's;
    without one, of what was asked for. `mailbox`: address that was asked for.
    """

    def __init__(
        self, told: str, why: str = "", tenant: int | None = None, mailbox: str | None = None
    ) -> None:
        super().__init__(told)
        self.why = why or told
        self.tenant = tenant
        self.mailbox = mailbox


@dataclass(slots=True)
class Permission:
    """Rules for who acts in a transaction.

    `facts`: the account that acts, or the team with its shared password, as of this transaction;
    None for the Unix user, whose files these are.  Each method that asks raises NotAllowed, or
    NotFound for what does not exist within the reach of the account.  `mailbox`, `tenant`: what
    was asked for last, for the row of a refusal.
    """

    connection: Connection
    actor: AuditActor
    clock: Callable[[], datetime]
    facts: ActorFacts | TeamFacts | None
    policy: RightsPolicy
    permitted: bool = False
    mailbox: str | None = None
    tenant: int | None = None

    def check_permitted(self) -> None:
        """Refuse an account that no rule was asked about.  Raises NotAllowed."""
        if not self.permitted and self.facts is not None:
            self._refuse("this command is for the Unix user of the daemon alone")

    def placed(self, error: NotAllowed) -> NotAllowed:
        """Return a refusal with the mailbox and tenant that its row in the audit trail has."""
        tenant = self._refused_tenant if error.tenant is None else error.tenant
        error.tenant, error.mailbox = tenant, error.mailbox or self.mailbox
        return error

    def require(
        self, action: Action, mailbox: MailboxFacts, address: str, unknown: str = ""
    ) -> None:
        """Refuse an account that may not do this to the mailbox.

        `unknown`: what is told where the mailbox is another tenant's.
        """
        self._require(frozenset({action}), mailbox, address, unknown)

    def reach(self, address: str, *actions: Action) -> MailboxFacts:
        """Find a mailbox on which the account may do one of these actions.  By default: see it."""
        asked = frozenset(actions) or LISTING
        self.mailbox = address_key(address)
        if self.facts is None:
            get_mailbox(self.connection, address)  # its error names the owner of an alias
            found = load_mailbox(self.connection, address)
            self._require(asked, found, address, "")
            return found
        try:
            found = load_mailbox(self.connection, address)
        except NotFound as error:
            name = address_key(address).rpartition("@")[2]
            self._judge(asked, *self._place(name), address, str(error))
            raise
        self._require(asked, found, address, "")
        return found

    def require_role(self, action: Action, tenant_id: int, domain_id: int | None = None) -> None:
        """Refuse an account without a role for a tenant or a domain."""
        self.tenant = tenant_id
        self._by_role(action, lambda scope: scope.covers(tenant_id, domain_id), "")

    def require_whole(self, action: Action) -> None:
        """Refuse an account without a role for the whole operator."""
        self._by_role(action, lambda scope: scope.whole, " for the whole operator")

    def require_domain(self, name: str, *actions: Action) -> None:
        """Refuse an account without a role for a domain.  By default: one to see it.

        Returns for a domain that is not hosted, if the account has the role for the whole.
        """
        tenant_id, domain_id = self._place(name.lower())
        unknown = f"the domain {name} is not hosted here"
        self._judge(frozenset(actions) or LISTING, tenant_id, domain_id, name, unknown)

    def reach_tenant(self, name: str, *actions: Action) -> Tenant:
        """Find a tenant for the whole of which the account has a role.  By default: to see it."""
        asked = frozenset(actions) or LISTING
        try:
            found = get_tenant(self.connection, name)
        except NotFound as error:
            self._judge(asked, None, None, name, str(error))
            raise
        unknown = f"there is no tenant {name}; see: mssante tenant list"
        self._judge(asked, found.id, None, name, unknown)
        return found

    def reach_account(self, login: str, *actions: Action) -> Account:
        """Find an account for whose tenant the account that acts has a role."""
        found = find_account(self.connection, login)
        tenant_id = None if found is None else found.tenant_id
        asked = frozenset(actions) or LISTING
        self._judge(asked, tenant_id, None, login, f"there is no account {login}")
        return get_account(self.connection, login) if found is None else found

    def require_number(
        self, action: Action, tenant_id: int | None, what: str, unknown: str
    ) -> None:
        """Refuse an account without a role for the tenant, or the whole, of a thing with a number.

        `what` names it where it is of the account's tenant; `unknown`: where it is of another.
        """
        self._judge(frozenset({action}), tenant_id, None, what, unknown)

    def scope(self, *actions: Action) -> Scope:
        """Part of the operator that lists and reports show.  By default: what the account sees."""
        asked = frozenset(actions) or LISTING
        self._by_role(asked, lambda scope: not scope.empty, "")
        if not isinstance(self.facts, ActorFacts):
            return WHOLE  # the Unix user's: a team was refused above
        return scope_of(self.facts, asked, self.clock(), self.policy)

    def coverage(self, action: Action) -> Coverage | None:
        """Part for which roles give the action, by names of domains; None: everything."""
        scope = self.scope(action)
        return None if scope.whole else load_coverage(self.connection, scope)

    def known_account(self, login: str) -> Account:
        """Find an account that another one may name; of another tenant only by a whole role."""
        found = get_account(self.connection, login)
        facts = self._account_facts
        if facts is not None and found.tenant_id != facts.account.tenant_id:
            every = frozenset(Action)
            if not scope_of(facts, every, self.clock(), self.policy).whole:
                raise NotFound(f"there is no account {login}")
        return found

    def require_gift(self, mailbox: MailboxFacts, address: str, grantee: Grantee) -> None:
        """Refuse an account that may not give this grantee rights on the mailbox.

        No role gives content: whoever manages by a role alone gives nothing to the own account or
        groups, and nothing on a PER mailbox, whose holder delegates.
        """
        self.require(Action.MANAGE, mailbox, address)
        facts = self._account_facts
        if facts is None:
            return
        source = may(facts, Action.MANAGE, mailbox, self.clock(), self.policy).reason
        account = facts.account
        own = grantee.id in account.groups if grantee.group else grantee.id == account.id
        if source is Reason.ROLE and (own or mailbox.type is MailboxType.PER):
            self._refuse(
                f"{account.login} manages {address} by a role, which gives content to nobody: "
                + ("another must give it" if own else "its holder delegates it")
            )

    def refuse_own_account(self, account: Account) -> None:
        """Refuse that an account puts itself into a group, which may have grants."""
        facts = self._account_facts
        if facts is not None and account.id == facts.account.id:
            self._refuse(f"{self._name} {_TO_ITSELF}")

    def refuse_own_identifiers(self, given: Iterable[Identifier]) -> None:
        """Refuse that an account makes itself a holder of a mailbox."""
        facts = self._account_facts
        if facts is not None and facts.account.identifiers & set(given):
            self._refuse(f"{self._name} {_TO_ITSELF}")

    @property
    def home(self) -> int:
        """Tenant of the account that acts; the operator's for the Unix user."""
        facts = self._account_facts
        return OPERATOR_TENANT if facts is None else facts.account.tenant_id

    @property
    def _account_facts(self) -> ActorFacts | None:
        return self.facts if isinstance(self.facts, ActorFacts) else None

    @property
    def _tenant_id(self) -> int | None:
        facts = self._account_facts
        return None if facts is None else facts.account.tenant_id

    @property
    def _refused_tenant(self) -> int | None:
        return self.tenant if self.facts is None else self._tenant_id

    @property
    def _name(self) -> str:
        return self.actor.account or "the shared password of a team"

    def _require(
        self, asked: frozenset[Action], mailbox: MailboxFacts, address: str, unknown: str
    ) -> None:
        self.permitted, self.tenant = True, mailbox.tenant_id
        self.mailbox = address_key(address)
        facts = self.facts
        if facts is None:
            return
        now = self.clock()
        verdicts = [may(facts, one, mailbox, now, self.policy) for one in sorted(asked)]
        if any(verdict.allowed for verdict in verdicts):
            return
        told = [verdict for verdict in verdicts if verdict.reason in _TOLD]
        closer = [verdict for verdict in verdicts if verdict.reason is not Reason.NO_RIGHT]
        foreign = mailbox.tenant_id != self._tenant_id
        hidden = (unknown or f"there is no mailbox {address}") if foreign and not told else None
        self._deny(asked, address, (told or closer or verdicts)[0], hidden)

    def _by_role(
        self, asked: Action | frozenset[Action], covered: Callable[[Scope], bool], part: str
    ) -> None:
        self.permitted = True
        if self.facts is None:
            return
        actions = frozenset({asked}) if isinstance(asked, Action) else asked
        if isinstance(self.facts, TeamFacts):
            self._refuse(f"{self._name} has no role that allows it{part}: {_said(actions)}")
        verdict = may_by_role(self.facts, actions, covered, self.clock(), self.policy)
        if verdict.reason is Reason.NO_RIGHT:
            self._refuse(f"{self._name} has no role that allows it{part}: {_said(actions)}")
        if not verdict.allowed:
            self._refuse(f"{self._name} may not {_said(actions)}: {verdict.text}")

    def _judge(
        self,
        asked: frozenset[Action],
        tenant_id: int | None,
        domain_id: int | None,
        what: str,
        unknown: str,
    ) -> None:
        """Refuse an account without a role for this place; None: for a place that is nobody's."""
        self.permitted, self.tenant = True, tenant_id
        facts = self.facts
        if facts is None:
            return
        if isinstance(facts, TeamFacts):
            self._refuse(unknown, f"{self._name} may not {_doing(asked)} {what}")
        verdict = may_by_role(
            facts,
            asked,
            lambda scope: scope.whole if tenant_id is None else scope.covers(tenant_id, domain_id),
            self.clock(),
            self.policy,
        )
        if verdict.allowed:
            return
        foreign = tenant_id != self._tenant_id
        hidden = unknown if foreign and verdict.reason not in _TOLD else None
        self._deny(asked, what, verdict, hidden)

    def _place(self, domain: str) -> tuple[int | None, int | None]:
        try:
            found = get_domain(self.connection, domain)
        except NotFound:
            return None, None
        return found.tenant_id, found.id

    def _deny(
        self, asked: frozenset[Action], what: str, verdict: Verdict, hidden: str | None
    ) -> None:
        why = f"{self._name} may not {_doing(asked)} {what}: {verdict.text}"
        self._refuse(why if hidden is None else hidden, why)

    def _refuse(self, told: str, why: str = "") -> NoReturn:
        raise NotAllowed(told, why, self._refused_tenant, self.mailbox)


def _said(actions: frozenset[Action]) -> str:
    return "see" if actions == LISTING else " or ".join(sorted(actions))


def _doing(actions: frozenset[Action]) -> str:
    """Actions as words before the name of a mailbox, an account, or a thing with a number."""
    if actions == LISTING:
        return "see"
    return " or ".join(_DOING.get(one, one) for one in sorted(actions))
