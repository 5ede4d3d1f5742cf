"""Actions on the queue, in the audit trail and in the trace journal: actor, action, reason, mail.

Audit rows are committed with the change that they tell of: a row for each delivery, or for a change
that only sends sooner a row for each transaction, as it may be repeated for a million deliveries.
As soon as a change is committed, each delivery gets an event in the journal, which `mssante trace
MESSAGE` shows. At the end, also after an interruption, one event gives filters and counts of the
whole action. All events are written when the journal is closed, before the command returns.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from mailstore.blobs.store import Store
from mailstore.rights.model import Action
from relay.dsn.writer import DsnWriter
from relay.queue.destinations import forget_dead, pause, resume
from relay.queue.wakeup import notify_after_commit, notify_in_transaction
from relay.queue_admin.actions import ChangedDelivery, QueueAction, run_action
from relay.queue_admin.filter import DeliveryFilter
from relay.queue_admin.hold_rules import HoldRuleRow, HoldScope, add_rule, remove_rule

from ..assembly.relay import make_dsn_writer
from ..errors import OperatorError
from ..settings.model import Settings
from .acts import Act, ActTransaction


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
    """Queue admin for one person.  `reason`: as given, may be empty."""

    act: Act
    dsn_writer: DsnWriter
    reason: str

    @property
    def store(self) -> Store:
        """Store of the act."""
        return self.act.store

    @property
    def clock(self) -> Callable[[], datetime]:
        """Clock of the act."""
        return self.act.clock

    def record(self, event: str, **facts: object) -> None:
        """Record an event in the journal with actor and reason."""
        who = self.act.actor
        user = who.unix_user if who.account else ""
        self.act.journal.record(event, **facts, who=self.act.name, account=user, why=self.reason)

    def perform(self, action: QueueAction[Any], wanted: DeliveryFilter) -> ActionTotals:
        """Apply an action to all deliveries that match.  Raises NotAllowed, StoreUnavailable."""

        def note(connection: Connection, changed: Sequence[ChangedDelivery]) -> None:
            with self.act.within(connection) as change:
                change.require_whole(Action.QUEUE)
                self._audit(change, action, wanted, changed)

        with self.act.refusing():
            return self._perform(action, wanted, note)

    def _perform(
        self,
        act: QueueAction[Any],
        wanted: DeliveryFilter,
        note: Callable[[Connection, Sequence[ChangedDelivery]], None],
    ) -> ActionTotals:
        tally = ActionTotals()
        database = self.store.database
        try:
            for done in run_action(database, act, wanted, self.clock, note=note):
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

    def _audit(
        self,
        change: ActTransaction,
        action: QueueAction[Any],
        wanted: DeliveryFilter,
        changed: Sequence[ChangedDelivery],
    ) -> None:
        if not action.decides:
            if changed:
                filters = ", ".join(wanted.texts)
                change.audit(action.event, deliveries=len(changed), filters=filters, why=self._why)
            return
        for one in changed:
            change.audit(
                action.event,
                message=one.message_id,
                delivery=one.id,
                domain=one.domain,
                report=one.report or None,
                why=self._why,
            )

    @property
    def _why(self) -> str | None:
        return self.reason or None

    @contextmanager
    def _changing(self) -> Iterator[ActTransaction]:
        """Write transaction of an actor who may.  Raises NotAllowed, StoreUnavailable."""
        database = self.store.database
        with (
            self.act.refusing(),
            database.write() as connection,
            self.act.within(connection) as change,
        ):
            change.require_whole(Action.QUEUE)
            yield change

    def pause(self, domain: str) -> None:
        """Pause a destination.  Raises NotAllowed, StoreUnavailable."""
        with self._changing() as change:
            pause(change.connection, domain, self.reason)
            notify_in_transaction(change.connection)
            change.audit("destination.paused", domain=domain, why=self._why)
        notify_after_commit(self.store.database.url)
        self.record("destination.paused", domain=domain)

    def resume(self, domain: str) -> None:
        """Resume a destination.

        Raises QueueRefused if it is not paused, NotAllowed, StoreUnavailable.
        """
        with self._changing() as change:
            if not resume(change.connection, domain):
                raise QueueRefused(f"{domain} is not paused")
            notify_in_transaction(change.connection)
            change.audit("destination.resumed", domain=domain, why=self._why)
        notify_after_commit(self.store.database.url)
        self.record("destination.resumed", domain=domain)

    def add_rule(self, scope: HoldScope) -> int:
        """Add a hold rule for new mail; returns its number.

        Raises NotAllowed, StoreUnavailable.
        """
        with self._changing() as change:
            number = add_rule(
                change.connection,
                scope,
                reason=self.reason,
                author=self.act.name,
                now=self.clock(),
            )
            filters = ", ".join(scope_texts(scope))
            change.audit("queue.rule_added", rule=number, filters=filters, why=self._why)
        self.record("queue.rule_added", rule=number, filters=scope_texts(scope))
        return number

    def remove_rule(self, number: int) -> HoldRuleRow:
        """Remove a hold rule; returns it.  Raises NotFound, NotAllowed, StoreUnavailable."""
        with self._changing() as change:
            rule = remove_rule(change.connection, number)
            filters = ", ".join(scope_texts(rule.scope))
            change.audit("queue.rule_removed", rule=number, filters=filters, why=self._why)
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


def make_queue_admin(act: Act, settings: Settings, reason: str) -> QueueAdmin:
    """Queue admin of an act.  Raises NotAllowed for an account that may not change the queue."""
    if act.account_id is not None:
        with act.write() as change:
            change.require_whole(Action.QUEUE)
    return QueueAdmin(act, make_dsn_writer(settings, act.store, act.journal), reason)


def read_queue(act: Act, wanted: DeliveryFilter, *, whole: bool = False) -> DeliveryFilter:
    """Narrow a filter to the deliveries that an account may see, and record that it looks.

    `whole`: a role for the whole operator is needed.  The Unix user sees all.  Raises NotAllowed
    for an account without a role, StoreUnavailable.
    """
    if act.account_id is None:
        return wanted
    with act.write() as change:
        if whole:
            change.require_whole(Action.TRACE)
        covered = change.coverage(Action.TRACE)
        change.audit(
            "queue.read",
            tenant=None if covered is None else covered.tenant_id,
            filters=", ".join(wanted.texts),
        )
    return wanted if covered is None else replace(wanted, of_domains=covered.domains)
