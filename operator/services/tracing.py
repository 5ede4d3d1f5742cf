"""Trace of a session or message: from the trace journal and the database (DOMAIN §9.59).

Each may be the only record.  For an account, its roles decide, and its look at a trace has a row in
the audit trail.
"""

from contextlib import closing
from datetime import timedelta
from typing import Final

from sqlalchemy import select

from foundation.journal import files as journal_folder
from foundation.journal.search import find
from mailstore.audit.event import Result
from mailstore.blobs.store import Store
from mailstore.db.schema import domains
from mailstore.errors import NotFound, StoreUnavailable
from mailstore.messages.messages import get_message
from mailstore.rights.coverage import Coverage
from mailstore.rights.model import Action
from relay.queue_admin.message_lookup import deliveries_of, holders_of

from ..assembly.clock import utc_now
from ..assembly.storage import open_store, storage_folder
from ..errors import OperatorError
from ..settings.model import Settings
from .acts import Act
from .permission import NotAllowed
from .trace_view import StoredTrace, Trace, View

_SLACK: Final = timedelta(days=1)  # searched beyond a message's life: the queue may be held


class TraceError(OperatorError):
    """Unknown identifier, or unreadable journal."""


def trace_all(settings: Settings, key: str) -> Trace:
    """Trace for the Unix user; without the database, from the journal alone.

    Raises TraceError for an unreadable journal.
    """
    try:
        with closing(open_store(settings)) as store:
            stored = _look_up(store, key)
    except (OperatorError, StoreUnavailable) as error:
        stored = StoredTrace(problem=str(error))
    return _with_journal(settings, key, stored)


def trace_for(act: Act, settings: Settings, key: str) -> Trace:
    """Trace for an account, with what its roles cover.

    Raises NotAllowed for an account without a role, and for an identifier of no message that
    concerns it, be it known or not; TraceError, StoreUnavailable.
    """
    covered = act.coverage(Action.TRACE)
    found = _with_journal(settings, key, _look_up(act.store, key))
    if covered is None:
        act.audit_unseen("message.traced", message=key, found=found.known)
        return found
    narrowed = view_of(act.store, covered).narrow(found)
    act.audit_unseen(
        "message.traced",
        message=key,
        tenant=covered.tenant_id,
        result=Result.REFUSED if narrowed is None else Result.DONE,
    )
    if narrowed is None:
        raise NotAllowed(f"{key} is no message from or to a domain that {act.name} may trace")
    return narrowed


def view_of(store: Store, covered: Coverage) -> View:
    """View of covered domains among all that are or were hosted here.  Raises StoreUnavailable."""
    with store.database.read() as connection:
        return View(covered, frozenset(connection.scalars(select(domains.c.name))))


def _with_journal(settings: Settings, key: str, stored: StoredTrace) -> Trace:
    folder = storage_folder(settings) / journal_folder.NAME
    life = timedelta(hours=settings.outbound.life_hours) + _SLACK
    try:
        return Trace(key, find(folder, key, utc_now(), life), stored)
    except OSError as error:
        raise TraceError(f"trace journal unreadable: {error}") from error


def _look_up(store: Store, key: str) -> StoredTrace:
    with store.database.read() as connection:
        try:
            message = get_message(connection, key).message
        except NotFound:
            return StoredTrace()
        return StoredTrace(
            message=message,
            holders=tuple(holders_of(connection, key)),
            deliveries=tuple(deliveries_of(connection, key)),
        )
