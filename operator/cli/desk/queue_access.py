"""The queue as a command opens it: for the Unix user, or for an account that proves itself."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection

from relay.queue_admin.filter import DeliveryFilter

from ...assembly.storage import open_store
from ...services.queue_admin import QueueAdmin, make_queue_admin, read_queue
from ...settings.model import load
from ..acting import Acting


@contextmanager
def administering(given: Path | None, who: Acting, reason: str) -> Iterator[QueueAdmin]:
    """Open the queue for actions.  Raises SettingsError, LoginRefused, NotAllowed."""
    settings = load(given)
    with who.open(settings) as act:
        yield make_queue_admin(act, settings, reason)


@contextmanager
def reading(
    given: Path | None, who: Acting, wanted: DeliveryFilter, *, whole: bool = False
) -> Iterator[tuple[Connection, DeliveryFilter]]:
    """Open the queue for a view; yields the filter narrowed to the mail that may be seen.

    `whole`: the view is of all mail, and needs a role for the whole operator.  The Unix user needs
    neither audit trail nor a database that takes writes.  Raises SettingsError, LoginRefused,
    NotAllowed.
    """
    settings = load(given)
    if not who.given:
        with closing(open_store(settings)) as store, store.database.read() as connection:
            yield connection, wanted
        return
    with who.open(settings) as act:
        wanted = read_queue(act, wanted, whole=whole)
        with act.store.database.read() as connection:
            yield connection, wanted
