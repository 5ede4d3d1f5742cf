"""Owner of the storage folder: no command may write there as root if the owner is another user."""

import os
import shlex

from ..settings.model import Settings, SettingsError, user_name
from .storage import storage_folder


def check_user(settings: Settings) -> None:
    """Refuse to run as root if the storage folder belongs to another user.

    Raises SettingsError.
    """
    # The daemon could not write to files made by root, such as those of the journal or of SQLite.
    folder = storage_folder(settings)
    owner = folder.stat().st_uid
    if os.geteuid() == 0 != owner:
        name = user_name(owner)
        raise SettingsError(
            f"{folder} belongs to the user {name}: files of root there would block the daemon; "
            "run the command as the daemon's user: "
            f"sudo -u {shlex.quote(name)} mssante …"
        )
