"""Acts of people on domains, mailboxes, accounts, keys and content, each in the audit trail.

A change and its audit row are committed together; a refusal of an identified actor gets a row of
its own.  After the commit, the same event goes to the trace journal.  A journal that cannot be
written stops no act: the log reports it, and the event is counted as lost.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from sqlalchemy import Connection

from foundation.journal.writer import Journal
from mailstore.accounts.accounts import get_account_by_id
from mailstore.accounts.names import login_key
from mailstore.audit.event import AuditActor, AuditEvent, Door, Fact, Result
from mailstore.audit.trail import AuditTrail
from mailstore.blobs.store import Store
from mailstore.credentials.grace_passwords import opens_by_shared_password
from mailstore.credentials.proof import LoginRefused, Method, Proof
from mailstore.errors import Forbidden
from mailstore.mailboxes.address import address_key
from mailstore.rights.coverage import Coverage
from mailstore.rights.facts import load_actor
from mailstore.rights.model import Action, ActorFacts, RightsPolicy, TeamFacts

from ..assembly.clock import utc_now
from ..assembly.file_owner import check_user
from ..assembly.journal import open_journal
from ..assembly.people.audit import open_trail
from ..assembly.people.log_in import open_log_in
from ..assembly.storage import open_store
from ..settings.model import Settings, SettingsError
from ..settings.rights import rights_policy
from .actor import account_name
from .permission import NotAllowed, Permission

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


@dataclass(slots=True)
class ActTransaction(Permission):
    """Write transaction of an act; its audit rows are added at its end."""

    events: list[AuditEvent] = field(default_factory=list)

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
        if isinstance(self.facts, TeamFacts):
            facts["shared_password"] = True
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
    """Act of a person: the store, and who acts.  `proof`: of the account, if one logged in.

    `trail` is None where it cannot be written and the act was opened nevertheless, to read only;
    `trail_problem` says why.
    """

    store: Store
    actor: AuditActor
    trail: AuditTrail | None
    journal: Journal
    clock: Callable[[], datetime]
    policy: RightsPolicy
    proof: Proof | None = None
    trail_problem: str = ""

    @property
    def name(self) -> str:
        """Name of the person: the account's, else the Unix user's."""
        return self.actor.account or self.actor.unix_user or ""

    @property
    def account_id(self) -> int | None:
        """Number of the account; None for the Unix user, and for a team's shared password."""
        return None if self.proof is None else self.proof.account

    @property
    def _is_team(self) -> bool:
        return self.proof is not None and self.proof.method is Method.GRACE

    @contextmanager
    def write(self) -> Iterator[ActTransaction]:
        """Write transaction with audit rows: all is committed, or nothing.

        An account must be permitted in it (`require`).  A refusal leaves a row of its own, also one
        that no account could escape (Forbidden).  Raises NotAllowed, StoreUnavailable.
        """
        with (
            self.refusing(),
            self.store.database.write() as connection,
            self.within(connection) as transaction,
        ):
            yield transaction
        for event in transaction.events:
            self._record(event)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Give a refusal in the block its audit row.  Raises NotAllowed, StoreUnavailable."""
        try:
            yield
        except NotAllowed as error:
            self.refused(error)
            raise

    @contextmanager
    def within(self, connection: Connection) -> Iterator[ActTransaction]:
        """Part of a write transaction of the caller; its audit rows are added at the end.

        Nothing goes to the journal.  Raises NotAllowed, as `write`, without a row (`refusing`).
        """
        transaction = self._transaction(connection)
        try:
            yield transaction
        except Forbidden as error:
            raise transaction.placed(NotAllowed(str(error))) from error
        except NotAllowed as error:
            transaction.placed(error)
            raise
        transaction.check_permitted()
        self._append(connection, transaction.events)

    def coverage(self, action: Action) -> Coverage | None:
        """Part of the operator that the account's roles cover; None: everything.

        Raises NotAllowed for an account without a role for the action, StoreUnavailable.
        """
        if self.proof is None:
            return None
        with self.read() as seen:
            return seen.coverage(action)

    def _append(self, connection: Connection, events: Sequence[AuditEvent]) -> None:
        if self.trail is not None:
            self.trail.append(connection, events)

    @contextmanager
    def read(self) -> Iterator[Permission]:
        """Read transaction in which an account must be permitted, as in `write`.

        Raises NotAllowed, StoreUnavailable.
        """
        try:
            with self.store.database.read() as connection:
                facts = self._facts(connection)
                seen = Permission(connection, self.actor, self.clock, facts, self.policy)
                yield seen
                seen.check_permitted()
        except NotAllowed as error:
            self.refused(error)
            raise

    def _transaction(self, connection: Connection) -> ActTransaction:
        facts = self._facts(connection)
        return ActTransaction(connection, self.actor, self.clock, facts, self.policy)

    def _facts(self, connection: Connection) -> ActorFacts | TeamFacts | None:
        """Read again in each transaction: a right may have ended since the log-in."""
        if self.proof is None:
            return None
        if self.proof.account is None:
            return TeamFacts(self.proof)
        return load_actor(connection, self.proof.account, self.proof)

    def refused(self, error: NotAllowed) -> None:
        """Add the audit row of a refusal, in a transaction of its own."""
        event = AuditEvent(
            at=self.clock(),
            event="act.refused",
            actor=self.actor,
            result=Result.REFUSED,
            tenant=error.tenant,
            mailbox=error.mailbox,
            facts={"why": error.why, **({"shared_password": True} if self._is_team else {})},
        )
        with self.store.database.write() as connection:
            self._append(connection, [event])
        self._record(event)

    def audit(self, event: str, **facts: object) -> None:
        """Add one audit row in a transaction of its own, as before content is shown.

        Takes the keywords of `ActTransaction.audit`.  Raises StoreUnavailable.
        """
        with self.write() as transaction:
            transaction.permitted = True  # its caller has asked
            transaction.audit(event, **facts)  # type: ignore[arg-type] # checked by its callee

    def audit_unseen(self, event: str, **facts: object) -> None:
        """Add one audit row as `audit`, and nothing to the journal: for a look at the journal.

        Otherwise looking for what is not there would find itself.  Raises StoreUnavailable.
        """
        with self.store.database.write() as connection, self.within(connection) as transaction:
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


@dataclass(frozen=True, slots=True)
class Reader:
    """Store as an account sees it; without an act as the Unix user does, who needs no trail."""

    store: Store
    act: Act | None = None

    @contextmanager
    def read(self) -> Iterator[Permission]:
        """Read transaction in which an account must be permitted.  Raises as `Act.read`."""
        if self.act is not None:
            with self.act.read() as seen:
                yield seen
            return
        with self.store.database.read() as connection:
            yield Permission(connection, unix_actor(), utc_now, None, RightsPolicy())


@contextmanager
def open_act(settings: Settings, *, without_trail: bool = False) -> Iterator[Act]:
    """Open store, audit trail and journal for an act of the Unix user.  Raises SettingsError.

    `without_trail`: an act that only reads is opened even if the trail cannot be written.
    """
    check_user(settings)
    with (
        closing(open_journal(settings, "command")) as journal,
        closing(open_store(settings)) as store,
    ):
        act = Act(store, unix_actor(), None, journal, utc_now, rights_policy(settings))
        try:
            act = replace(act, trail=open_trail(settings, store.database))
        except SettingsError as error:
            if not without_trail:
                raise
            act = replace(act, trail_problem=str(error))
        yield act


def log_in(act: Act, settings: Settings, login: str, password: str, code: str | None) -> Act:
    """Return the act as one of an account, which proves itself.

    `login` may be the address of a mailbox whose team moves to named accounts, with its shared
    password.  Raises LoginRefused; the refusal is in the audit trail.
    """
    doors = open_log_in(settings, act.store.database, act.trail)
    with act.store.database.read() as connection:
        shared = code is None and opens_by_shared_password(connection, login)
    origin, now = "command", act.clock()
    try:
        if shared:
            proof = doors.with_grace_password(
                login, password, actor=act.actor, origin=origin, at=now
            )
            return replace(act, proof=proof)
        proof = doors.with_password(login, password, code, origin=origin, at=now)
    except LoginRefused as refused:
        act.audit(
            "account.login_refused",
            subject=None if shared else login_key(login),
            mailbox=address_key(login) if shared else None,
            tenant=_tenant_of(act, refused.account),
            result=Result.REFUSED,
            why=refused.reason.value,
        )
        raise
    doors.note(proof, None)
    assert proof.account is not None  # noqa: S101 - a password is an account's
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
