"""Whose files the storage folder has: commands that write there must be that user's."""

import os
import shlex

from ..settings.model import Settings, SettingsError, user_name
from . import runtime


def check_user(settings: Settings) -> None:
    """Refuse to be root where the daemon is not.  Raises SettingsError."""
    # Files that root makes here, of the journal or of SQLite, the daemon could not write to.
    folder = runtime.storage_folder(settings)
    owner = folder.stat().st_uid
    if os.geteuid() == 0 != owner:
        name = user_name(owner)
        raise SettingsError(
            f"{folder} belongs to the user {name}, and root would leave files there that the "
            "daemon cannot write to; run it as the daemon's user: "
            f"sudo -u {shlex.quote(name)} mssante …"
        )
