"""A look at the store before anything depends on it: at a start, a reload, `config check`."""

from contextlib import closing

from mailstore.errors import StoreUnavailable

from . import runtime
from .errors import Away
from .outbound_check import doubts_of_store
from .settings import Settings


def look(settings: Settings) -> list[str]:
    """What of the store may not be meant; blocks.  Raises SettingsError, and Away without it."""
    with closing(runtime.open_store(settings)) as store:
        try:
            with store.database.read() as connection:
                return doubts_of_store(settings, connection)
        except StoreUnavailable as error:
            raise Away(f"{settings.origin}: storage: {error}") from error
