"""White list that a command has adopted: shared with the other machines of the store."""

from contextlib import closing

from mailstore.errors import StoreUnavailable
from relay.machines.list_sharing import ListSharing
from whitelist.errors import ArchiveError
from whitelist.refresh.list_refresh import ListRefresher

from ..assembly.storage import open_database
from ..settings.model import Settings, SettingsError


def share_now(settings: Settings, refresher: ListRefresher) -> str:
    """Share the list in force at once.  Returns the reason of a failure, or ''.  Blocks."""
    try:
        with closing(open_database(settings)) as database:
            if database.several:
                ListSharing(database, refresher).exchange()
    except (StoreUnavailable, SettingsError, ArchiveError) as error:
        return str(error)
    return ""
