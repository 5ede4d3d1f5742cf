"""Actions on the queue with their audit in the trace journal: actor, action, reason, deliveries.

Each delivery gets an event as soon as its change is committed; `mssante trace MESSAGE` shows it.
At the end, also after an interruption, one event gives filters and counts of the whole action.
All events are written when the journal is closed, before the command returns.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from foundation.journal.writer import Journal
from mailstore.blobs.store import Store
from relay.dsn.writer import DsnWriter
from relay.queue.destinations import forget_dead, pause, resume
from relay.queue.wakeup import notify_after_commit, notify_in_transaction
from relay.queue_admin.actions import QueueAction, run_action
from relay.queue_admin.filter import DeliveryFilter
from relay.queue_admin.hold_rules import HoldRuleRow, HoldScope, add_rule, remove_rule

from ..assembly.clock import utc_now
from ..assembly.file_owner import check_user
from ..assembly.relay import make_dsn_writer, open_journal
from ..assembly.storage import open_store
from ..errors import OperatorError
from ..settings.model import Settings
from .actor import Actor


class QueueRefused(OperatorError):
    """Action that changed nothing: no match, or an option is missing."""


@dataclass(slots=True)
class ActionTotals:
    """Result of an action: deliveries changed, deliveries skipped as in flight, destinations.

    `reports`: DSNs to the senders of dropped deliveries.
    """

    changed: int = 0
    in_flight: int = 0
    reports: int = 0
    domains: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class QueueAdmin:
    """Queue admin for one actor.  `reason`: as given by the actor, may be empty."""

    store: Store
    dsn_writer: DsnWriter
    journal: Journal
    actor: Actor
    reason: str
    clock: Callable[[], datetime]

    def record(self, event: str, **facts: object) -> None:
        """Record an event with actor and reason."""
        actor = self.actor
        self.journal.record(event, **facts, who=actor.name, account=actor.account, why=self.reason)

    def perform(self, act: QueueAction[Any], wanted: DeliveryFilter) -> ActionTotals:
        """Apply an action to all deliveries that match.  Raises StoreUnavailable."""
        tally = ActionTotals()
        database = self.store.database
        try:
            for done in run_action(database, act, wanted, self.clock):
                tally.changed += len(done.changed)
                tally.in_flight += done.in_flight
                domains = {one.domain for one in done.changed}
                tally.reports += sum(bool(one.report) for one in done.changed)
                for one in done.changed:
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
                        notify_in_transaction(connection)
                    notify_after_commit(database.url)
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
        """Pause a destination.  Raises StoreUnavailable."""
        with self.store.database.write() as connection:
            pause(connection, domain, self.reason)
            notify_in_transaction(connection)
        notify_after_commit(self.store.database.url)
        self.record("destination.paused", domain=domain)

    def resume(self, domain: str) -> None:
        """Resume a destination.  Raises QueueRefused if it is not paused, StoreUnavailable."""
        with self.store.database.write() as connection:
            ended = resume(connection, domain)
            notify_in_transaction(connection)
        notify_after_commit(self.store.database.url)
        if not ended:
            raise QueueRefused(f"{domain} is not paused")
        self.record("destination.resumed", domain=domain)

    def add_rule(self, scope: HoldScope) -> int:
        """Add a hold rule for new mail; returns its number.  Raises StoreUnavailable."""
        with self.store.database.write() as connection:
            number = add_rule(
                connection, scope, reason=self.reason, author=self.actor.name, now=self.clock()
            )
        self.record("queue.rule_added", rule=number, filters=scope_texts(scope))
        return number

    def remove_rule(self, number: int) -> HoldRuleRow:
        """Remove a hold rule; returns it.  Raises NotFound, StoreUnavailable."""
        with self.store.database.write() as connection:
            rule = remove_rule(connection, number)
        self.record("queue.rule_removed", rule=number, filters=scope_texts(rule.scope))
        return rule


def scope_texts(scope: HoldScope) -> list[str]:
    """Filters of a hold rule as texts for people and events, identifiers masked."""
    return DeliveryFilter(
        domain=scope.domain,
        sender=scope.sender,
        recipient=scope.recipient,
        mailbox_type=scope.mailbox_type,
    ).texts


@contextmanager
def open_queue_admin(settings: Settings, actor: Actor, reason: str) -> Iterator[QueueAdmin]:
    """Open store and journal; at the end the events are written.

    Raises SettingsError.
    """
    check_user(settings)
    with closing(open_store(settings)) as store:
        journal = open_journal(settings, "command")
        with closing(journal):
            yield QueueAdmin(
                store, make_dsn_writer(settings, store, journal), journal, actor, reason, utc_now
            )
