"""Acts of people on domains, mailboxes, accounts, keys and content, each in the audit trail.

A change and its audit row are committed together; a refusal of an identified actor gets a row of
its own.  After the commit, the same event goes to the trace journal.  A journal that cannot be
written stops no act: the log reports it, and the event is counted as lost.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from sqlalchemy import Connection

from foundation.journal.writer import Journal
from mailstore.audit.event import AuditActor, AuditEvent, Door, Fact, Result
from mailstore.audit.trail import AuditTrail
from mailstore.blobs.store import Store

from ..assembly.audit import open_trail
from ..assembly.clock import utc_now
from ..assembly.file_owner import check_user
from ..assembly.relay import open_journal
from ..assembly.storage import open_store
from ..settings.model import Settings
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


@dataclass(frozen=True, slots=True)
class ActTransaction:
    """Write transaction of an act; its audit rows are added at its end."""

    connection: Connection
    actor: AuditActor
    clock: Callable[[], datetime]
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
        """Add an audit row to this transaction; `subject`: login of the account acted on."""
        self.events.append(
            AuditEvent(
                at=self.clock(),
                event=event,
                actor=self.actor,
                result=result,
                tenant=tenant,
                mailbox=mailbox,
                message=message,
                subject=subject,
                facts=facts,
            )
        )


@dataclass(frozen=True, slots=True)
class Act:
    """Act of a person: the store, and who acts."""

    store: Store
    actor: AuditActor
    trail: AuditTrail
    journal: Journal
    clock: Callable[[], datetime]
    account_id: int | None = None

    @property
    def name(self) -> str:
        """Name of the person: the account's, else the Unix user's."""
        return self.actor.account or self.actor.unix_user or ""

    @contextmanager
    def write(self) -> Iterator[ActTransaction]:
        """Write transaction with audit rows: all is committed, or nothing.

        Raises StoreUnavailable.
        """
        with self.store.database.write() as connection:
            transaction = ActTransaction(connection, self.actor, self.clock)
            yield transaction
            self.trail.append(connection, transaction.events)
        for event in transaction.events:
            self._record(event)

    def audit(self, event: str, **facts: object) -> None:
        """Add one audit row in a transaction of its own, as before content is shown.

        Takes the keywords of `ActTransaction.audit`.  Raises StoreUnavailable.
        """
        with self.write() as transaction:
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
class RecordedStore:
    """Store and `record(event, **facts)` for an action."""

    store: Store
    record: Record


@contextmanager
def open_recorded_store(settings: Settings) -> Iterator[RecordedStore]:
    """Open store and journal for an action.  Raises SettingsError."""
    with (
        open_recorder(settings) as record,
        closing(open_store(settings)) as store,
    ):
        yield RecordedStore(store, record)


@contextmanager
def open_act(settings: Settings, actor: AuditActor | None = None) -> Iterator[Act]:
    """Open store, audit trail and journal for an act.

    `actor`: default is the Unix user, without an account.  Raises SettingsError.
    """
    check_user(settings)
    with (
        closing(open_journal(settings, "command")) as journal,
        closing(open_store(settings)) as store,
    ):
        trail = open_trail(settings, store.database)
        yield Act(store, actor or unix_actor(), trail, journal, utc_now)


def unix_actor() -> AuditActor:
    """Actor of a command without --as: the Unix user alone."""
    return AuditActor(account=None, unix_user=login_name(), door=Door.COMMAND)
