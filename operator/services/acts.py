"""Acts of people on domains, mailboxes, accounts, keys and content, each in the audit trail.

A change and its audit row are committed together; a refusal of an identified actor gets a row of
its own.  After the commit, the same event goes to the trace journal.  A journal that cannot be
written stops no act: the log reports it, and the event is counted as lost.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Final

from sqlalchemy import Connection

from foundation.journal.writer import Journal
from mailstore.accounts.accounts import get_account_by_id
from mailstore.accounts.kinds import AccountState
from mailstore.accounts.names import login_key
from mailstore.audit.event import AuditActor, AuditEvent, Door, Fact, Result
from mailstore.audit.trail import AuditTrail
from mailstore.blobs.store import Store
from mailstore.credentials.proof import LoginRefused, Proof
from mailstore.db.people_schema import OPERATOR_TENANT
from mailstore.errors import Forbidden
from mailstore.mailboxes.address import address_key
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.rights.facts import load_actor
from mailstore.rights.grants import Grantee
from mailstore.rights.may import may, may_with_role
from mailstore.rights.model import Action, ActorFacts, MailboxFacts, Reason, RightsPolicy

from ..assembly.clock import utc_now
from ..assembly.file_owner import check_user
from ..assembly.people.audit import open_trail
from ..assembly.people.log_in import open_log_in
from ..assembly.relay import open_journal
from ..assembly.storage import open_store
from ..errors import OperatorError
from ..settings.model import Settings
from ..settings.rights import rights_policy
from .actor import account_name

Record = Callable[..., None]


def login_name() -> str:
    """Login name of the user who runs this command."""
    return account_name(os.environ, os.getuid())


@contextmanager
def open_recorder(settings: Settings) -> Iterator[Record]:
    """Open the journal; yields `record(event, **facts)`, which adds the user's name.

    For acts without a store.  At the end the events are written.  Raises SettingsError.
    """
    check_user(settings)
    with closing(open_journal(settings, "command")) as journal:
        yield partial(journal.record, who=login_name())


class NotAllowed(OperatorError):
    """Act that the account may not do; the refusal is in the audit trail."""


_REFUSALS: Final = (NotAllowed, Forbidden)


@dataclass(slots=True)
class ActTransaction:
    """Write transaction of an act; its audit rows are added at its end.

    `facts`: the account that acts, as of this transaction; None for the Unix user, whose files
    these are.  `mailbox`, `tenant`: the ones that a rule was asked about, for a refusal.
    """

    connection: Connection
    actor: AuditActor
    clock: Callable[[], datetime]
    facts: ActorFacts | None
    policy: RightsPolicy
    events: list[AuditEvent] = field(default_factory=list)
    permitted: bool = False
    mailbox: str | None = None
    tenant: int | None = None

    def check_permitted(self) -> None:
        """Refuse an account that no rule was asked about.  Raises NotAllowed."""
        if not self.permitted and self.facts is not None:
            raise NotAllowed("this command is for the Unix user of the daemon alone")

    def require(self, action: Action, mailbox: MailboxFacts, address: str) -> None:
        """Refuse an account that may not do this to the mailbox.  Raises NotAllowed."""
        self.permitted, self.tenant = True, mailbox.tenant_id
        self.mailbox = address_key(address)
        if self.facts is None:
            return
        verdict = may(self.facts, action, mailbox, self.clock(), self.policy)
        if not verdict.allowed:
            raise NotAllowed(f"{self.actor.account} may not {action} {address}: {verdict.text}")

    def require_gift(self, mailbox: MailboxFacts, address: str, grantee: Grantee) -> None:
        """Refuse an account that may not give this grantee rights on the mailbox.

        No role gives content: whoever manages by a role alone gives nothing to the own account or
        groups, and nothing on a PER mailbox, whose holder delegates.  Raises NotAllowed.
        """
        self.require(Action.MANAGE, mailbox, address)
        if self.facts is None:
            return
        source = may(self.facts, Action.MANAGE, mailbox, self.clock(), self.policy).reason
        account = self.facts.account
        own = grantee.id in account.groups if grantee.group else grantee.id == account.id
        if source is Reason.ROLE and (own or mailbox.type is MailboxType.PER):
            raise NotAllowed(
                f"{account.login} manages {address} by a role, which gives content to nobody: "
                + ("another must give it" if own else "its holder delegates it")
            )

    def require_role(self, action: Action, tenant_id: int, domain_id: int | None = None) -> None:
        """Refuse an account without a role for a tenant or a domain.  Raises NotAllowed."""
        self.permitted, self.tenant = True, tenant_id
        if self.facts is None:
            return
        # Only a role for the whole operator crosses tenants, also where a domain has moved.
        own = self.facts.account.tenant_id == tenant_id
        roles = [role for role in self.facts.roles if own or role.whole]
        active = self.facts.account.state is AccountState.ACTIVE
        if not active or not may_with_role(roles, action, tenant_id, domain_id, self.clock()):
            raise NotAllowed(f"{self.actor.account} has no role that allows it: {action}")

    def require_whole(self, action: Action) -> None:
        """Refuse an account without a role for the whole operator.  Raises NotAllowed."""
        self.permitted = True
        if self.facts is None:
            return
        whole = [role for role in self.facts.roles if role.whole]
        active = self.facts.account.state is AccountState.ACTIVE
        if not active or not may_with_role(whole, action, OPERATOR_TENANT, None, self.clock()):
            raise NotAllowed(f"{self.actor.account} has no role for the whole operator: {action}")

    def audit(
        self,
        event: str,
        *,
        mailbox: str | None = None,
        message: str | None = None,
        subject: str | None = None,
        tenant: int | None = None,
        result: Result = Result.DONE,
        **facts: Fact,
    ) -> None:
        """Add an audit row to this transaction; `subject`: login of the account acted on.

        `mailbox`: in any spelling; a search finds it as the mailbox itself is found.
        """
        self.events.append(
            AuditEvent(
                at=self.clock(),
                event=event,
                actor=self.actor,
                result=result,
                tenant=tenant,
                mailbox=None if mailbox is None else address_key(mailbox),
                message=message,
                subject=subject,
                facts=facts,
            )
        )


@dataclass(frozen=True, slots=True)
class Act:
    """Act of a person: the store, and who acts.  `proof`: of the account, if one logged in."""

    store: Store
    actor: AuditActor
    trail: AuditTrail
    journal: Journal
    clock: Callable[[], datetime]
    policy: RightsPolicy
    proof: Proof | None = None

    @property
    def name(self) -> str:
        """Name of the person: the account's, else the Unix user's."""
        return self.actor.account or self.actor.unix_user or ""

    @property
    def account_id(self) -> int | None:
        """Number of the account; None for the Unix user."""
        return None if self.proof is None else self.proof.account

    @contextmanager
    def write(self) -> Iterator[ActTransaction]:
        """Write transaction with audit rows: all is committed, or nothing.

        An account must be permitted in it (`require`).  A refusal leaves a row of its own, also one
        that no account could escape (Forbidden).  Raises NotAllowed,
        StoreUnavailable.
        """
        transaction = None
        try:
            with self.store.database.write() as connection:
                transaction = self._transaction(connection)
                yield transaction
                transaction.check_permitted()
                self.trail.append(connection, transaction.events)
        except _REFUSALS as error:
            self._refused(str(error), transaction)
            raise
        for event in transaction.events:
            self._record(event)

    def _transaction(self, connection: Connection) -> ActTransaction:
        facts = None
        if self.proof is not None:
            # Read again in each transaction: a right may have ended since the log-in.
            facts = load_actor(connection, self.proof.account, self.proof)
        return ActTransaction(connection, self.actor, self.clock, facts, self.policy)

    def _refused(self, why: str, transaction: ActTransaction | None) -> None:
        event = AuditEvent(
            at=self.clock(),
            event="act.refused",
            actor=self.actor,
            result=Result.REFUSED,
            tenant=None if transaction is None else transaction.tenant,
            mailbox=None if transaction is None else transaction.mailbox,
            facts={"why": why},
        )
        with self.store.database.write() as connection:
            self.trail.append(connection, [event])
        self._record(event)

    def audit(self, event: str, **facts: object) -> None:
        """Add one audit row in a transaction of its own, as before content is shown.

        Takes the keywords of `ActTransaction.audit`.  Raises StoreUnavailable.
        """
        with self.write() as transaction:
            transaction.permitted = True  # its caller has asked
            transaction.audit(event, **facts)  # type: ignore[arg-type] # checked by its callee

    def _record(self, event: AuditEvent) -> None:
        self.journal.record(
            event.event,
            message=event.message,
            mailbox=event.mailbox,
            subject=event.subject,
            result="" if event.result is Result.DONE else event.result.value,
            **event.facts,
            who=event.actor.account or event.actor.unix_user,
            account=event.actor.unix_user if event.actor.account else "",
        )


@contextmanager
def open_act(settings: Settings) -> Iterator[Act]:
    """Open store, audit trail and journal for an act of the Unix user.  Raises SettingsError."""
    check_user(settings)
    with (
        closing(open_journal(settings, "command")) as journal,
        closing(open_store(settings)) as store,
    ):
        trail = open_trail(settings, store.database)
        yield Act(store, unix_actor(), trail, journal, utc_now, rights_policy(settings))


def log_in(act: Act, settings: Settings, login: str, password: str, code: str | None) -> Act:
    """Return the act as one of an account, which proves itself.

    Raises LoginRefused; the refusal is in the audit trail.
    """
    doors = open_log_in(settings, act.store.database)
    try:
        proof = doors.with_password(login, password, code, origin="command", at=act.clock())
    except LoginRefused as refused:
        act.audit(
            "account.login_refused",
            subject=login_key(login),
            tenant=_tenant_of(act, refused.account),
            result=Result.REFUSED,
            why=refused.reason.value,
        )
        raise
    doors.note(proof, None)
    with act.store.database.read() as connection:
        account = get_account_by_id(connection, proof.account)
    return replace(act, actor=replace(act.actor, account=account.login), proof=proof)


def _tenant_of(act: Act, account: int | None) -> int | None:
    if account is None:
        return None
    with act.store.database.read() as connection:
        return get_account_by_id(connection, account).tenant_id


def unix_actor() -> AuditActor:
    """Actor of a command without --as: the Unix user alone."""
    return AuditActor(account=None, unix_user=login_name(), door=Door.COMMAND)
