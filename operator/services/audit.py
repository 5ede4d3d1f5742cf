"""The audit trail for commands: reading it is an act too, and leaves a row."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from mailstore.audit.event import AuditEvent, Fact
from mailstore.audit.trail import AuditTrail
from mailstore.blobs.store import Store

from ..assembly.clock import utc_now
from ..assembly.people.audit import open_trail
from ..assembly.storage import open_store
from ..settings.model import Settings
from .acts import Record, open_recorder, unix_actor


@dataclass(frozen=True, slots=True)
class AuditDesk:
    """Store and trail, for the Unix user of a command."""

    store: Store
    trail: AuditTrail
    record: Record

    def event(self, name: str, **facts: Fact) -> AuditEvent:
        """Event of an act of this user, now."""
        return AuditEvent(at=utc_now(), event=name, actor=unix_actor(), facts=facts)

    def audit(self, name: str, **facts: Fact) -> None:
        """Add a row in a transaction of its own.  Raises StoreUnavailable."""
        with self.store.database.write() as connection:
            self.trail.append(connection, [self.event(name, **facts)])
        self.record(name, **facts)


@contextmanager
def open_desk(settings: Settings) -> Iterator[AuditDesk]:
    """Open store, trail and journal.  Raises SettingsError, Outage."""
    with (
        open_recorder(settings) as record,
        closing(open_store(settings)) as store,
    ):
        yield AuditDesk(store, open_trail(settings, store.database), record)
