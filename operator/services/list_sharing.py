"""White list that a command has adopted: shared with the other machines of the store."""

from contextlib import closing

from mailstore.errors import StoreUnavailable
from whitelist.errors import ArchiveError

from ..assembly.storage import open_database
from ..lists.list_refresh import ListRefresher
from ..lists.list_sharing import ListSharing
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
