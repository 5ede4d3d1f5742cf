"""The audit trail for commands: reading it is an act too, and leaves a row.

An auditor with a role for a tenant, or for some domains, reads the rows of these alone; rows of the
whole operator, and the verification and export of the trail, need a role for the whole.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from mailstore.audit.event import AuditEvent, Fact
from mailstore.audit.trail import AuditTrail
from mailstore.audit_reading.search import AuditFilter, FoundRow, get_row, search
from mailstore.blobs.store import Store
from mailstore.rights.coverage import Coverage
from mailstore.rights.model import Action

from ..assembly.clock import utc_now
from ..assembly.people.audit import open_trail
from ..assembly.storage import open_store
from ..settings.model import Settings
from .acts import Act, Record, open_recorder, unix_actor


@dataclass(frozen=True, slots=True)
class AuditDesk:
    """Store and trail, for commands of the Unix user on keys and anchors."""

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


def show_row(act: Act, chain: int, number: int) -> FoundRow | None:
    """A row by its place; None also for a row that the account may not read.

    Raises NotAllowed for an account without a role, StoreUnavailable.
    """
    covered = act.coverage(Action.AUDIT)
    with act.store.database.read() as connection:
        found = get_row(connection, chain, number, _narrowed(AuditFilter(), covered))
    act.audit("audit.shown", tenant=_tenant(covered), place=f"{chain}.{number}")
    return found


def search_rows(
    act: Act, wanted: AuditFilter, told: Mapping[str, Fact], *, limit: int, after: str | None
) -> list[FoundRow]:
    """Rows that the account may read, the newest first; `told`: the search, for its own row.

    Raises NotAllowed for an account without a role, ValueError for a malformed cursor,
    StoreUnavailable.
    """
    covered = act.coverage(Action.AUDIT)
    with act.store.database.read() as connection:
        found = search(connection, _narrowed(wanted, covered), limit=limit, after=after)
    # One value: names of a search, as `mailbox`, are columns of a row too.
    terms = ", ".join(f"{name}={value}" for name, value in told.items())
    act.audit("audit.searched", tenant=_tenant(covered), found=len(found), terms=terms)
    return found


def require_all(act: Act) -> None:
    """Refuse an account without a role for the whole operator.  Raises NotAllowed."""
    if act.account_id is not None:
        with act.write() as change:
            change.require_whole(Action.AUDIT)


def _tenant(covered: Coverage | None) -> int | None:
    return None if covered is None else covered.tenant_id


def _narrowed(wanted: AuditFilter, covered: Coverage | None) -> AuditFilter:
    if covered is None:
        return wanted
    domains = None if covered.entire else covered.domains
    return replace(wanted, tenant_id=covered.tenant_id, domains=domains)
