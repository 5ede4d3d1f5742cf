"""Check of the store at start and at reload."""

from contextlib import closing

from mailstore.errors import StoreUnavailable

from ..assembly import store_mark
from ..assembly.database import database_check
from ..assembly.people.anchor_places import check_places
from ..assembly.people.audit import open_trail
from ..assembly.storage import open_store
from ..errors import Outage
from ..machine.clock_watching import clock_doubts
from ..settings.consistency import doubts_of_store
from ..settings.model import Settings
from . import bucket as bucket_check


def check_store(settings: Settings) -> list[str]:
    """Doubts about the store.  Blocks.  A new store gets its mark.

    Raises SettingsError, or Outage if the store is unreachable.
    """
    check_places(settings)
    with closing(open_store(settings, mark=True)) as store:
        open_trail(settings, store.database)
        try:
            with store.database.read() as connection:
                found = doubts_of_store(settings, connection)
            found += store_mark.doubts(settings, store.database, store.blobs)
            found += database_check.doubts(settings, store.database)
            found += clock_doubts(settings, store.database)
        except StoreUnavailable as error:
            raise Outage(f"{settings.origin}: storage: {error}") from error
    return found + bucket_check.check(settings)
