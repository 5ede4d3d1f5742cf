"""Acts on the queue with their audit: who did what, why, to what, in the trace journal.

An event for each delivery, by which `mssante trace MESSAGE` tells of it, is recorded as soon as
its change is on disk, and one for the whole with filters and counts at the end, also if it is
broken off in the middle.  All are written when the journal is closed, before a command returns.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from foundation.journal.writer import Journal
from mailstore.blobs.store import Store
from relay.dsn.bouncer import Bouncer
from relay.queue.pauses import forget_dead, pause, resume
from relay.queue.wakeup import announce, signal
from relay.queue_admin.actions import Act, work_through
from relay.queue_admin.filter import Filter
from relay.queue_admin.hold_rules import Rule, Scope, add_rule, remove_rule

from ..assembly import policies, runtime
from ..assembly.file_owner import check_user
from ..errors import OperatorError
from ..settings.model import Settings
from .actor import Actor


class QueueRefused(OperatorError):
    """An act that changed nothing: nothing matched, or it needs a word more."""


@dataclass(slots=True)
class Tally:
    """What an act came to: deliveries changed and left because in flight; their destinations.

    `reports` are those to the senders of what was dropped.
    """

    changed: int = 0
    in_flight: int = 0
    reports: int = 0
    domains: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Desk:
    """From where somebody steers; `reason` is '' where none was given."""

    store: Store
    teller: Bouncer
    journal: Journal
    actor: Actor
    reason: str
    clock: Callable[[], datetime]

    def record(self, event: str, **facts: object) -> None:
        """Note what was done, by whom and why."""
        actor = self.actor
        self.journal.record(event, **facts, who=actor.name, account=actor.account, why=self.reason)

    def perform(self, act: Act[Any], wanted: Filter) -> Tally:
        """Do something to all that a filter matches.  Raises StoreUnavailable."""
        tally = Tally()
        database = self.store.database
        try:
            for done in work_through(database, act, wanted, self.clock):
                tally.changed += len(done.touched)
                tally.in_flight += done.in_flight
                domains = {one.domain for one in done.touched}
                tally.reports += sum(bool(one.report) for one in done.touched)
                for one in done.touched:
                    self.record(
                        act.event,
                        message=one.message_id,
                        delivery=one.id,
                        domain=one.domain,
                        report=one.report,
                    )
                if act.revives and domains - tally.domains:
                    with database.write() as connection:
                        forget_dead(connection, sorted(domains))
                        announce(connection)
                    signal(database.url)
                tally.domains |= domains
        finally:
            self.record(
                act.event,
                filters=wanted.texts,
                deliveries=tally.changed,
                in_flight=tally.in_flight,
                reports=tally.reports if act.tells else None,
            )
        return tally

    def pause(self, domain: str) -> None:
        """Send nothing to a destination from now on.  Raises StoreUnavailable."""
        with self.store.database.write() as connection:
            pause(connection, domain, self.reason)
            announce(connection)
        signal(self.store.database.url)
        self.record("destination.paused", domain=domain)

    def resume(self, domain: str) -> None:
        """Send again.  Raises QueueRefused where nothing was paused, StoreUnavailable."""
        with self.store.database.write() as connection:
            ended = resume(connection, domain)
            announce(connection)
        signal(self.store.database.url)
        if not ended:
            raise QueueRefused(f"{domain} is not paused")
        self.record("destination.resumed", domain=domain)

    def add_rule(self, scope: Scope) -> int:
        """Hold what comes and is covered; returns the rule's number.  Raises StoreUnavailable."""
        with self.store.database.write() as connection:
            number = add_rule(
                connection, scope, reason=self.reason, author=self.actor.name, now=self.clock()
            )
        self.record("queue.rule_added", rule=number, filters=scope_texts(scope))
        return number

    def remove_rule(self, number: int) -> Rule:
        """Take a rule away.  Raises NotFound, StoreUnavailable."""
        with self.store.database.write() as connection:
            rule = remove_rule(connection, number)
        self.record("queue.rule_removed", rule=number, filters=scope_texts(rule.scope))
        return rule


def scope_texts(scope: Scope) -> list[str]:
    """What a rule covers, for people and events: masked."""
    return Filter(
        domain=scope.domain,
        sender=scope.sender,
        recipient=scope.recipient,
        mailbox_type=scope.mailbox_type,
    ).texts


@contextmanager
def open_desk(settings: Settings, actor: Actor, reason: str) -> Iterator[Desk]:
    """Open store and journal; at the end the events are written.  Raises SettingsError."""
    check_user(settings)
    with closing(runtime.open_store(settings)) as store:
        journal = runtime.open_journal(settings, "command")
        with closing(journal):
            yield Desk(
                store, _teller(settings, store, journal), journal, actor, reason, runtime.clock
            )


def _teller(settings: Settings, store: Store, journal: Journal) -> Bouncer:
    return Bouncer(
        store,
        settings.operator.hostname,
        runtime.postmaster(settings),
        policies.retry_policy(settings).life,
        runtime.make_id,
        journal.record,
    )
