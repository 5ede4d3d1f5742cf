"""Log-in of accounts as the configuration describes it."""

from mailstore.credentials.app_passwords import AppPasswordPolicy
from mailstore.credentials.log_in import LogIn
from mailstore.credentials.passwords import PasswordHashes
from mailstore.db.database import Database
from mailstore.errors import InvalidKeys
from mailstore.sealed.keyring import Keyring

from ..settings.model import Settings
from .faults import settings_fault
from .storage import keys_file


def open_log_in(settings: Settings, database: Database) -> LogIn:
    """Log-in by passwords, codes and app passwords.  Raises SettingsError."""
    try:
        keys = Keyring(keys_file(settings))
    except InvalidKeys as error:
        raise settings_fault(settings, "storage.keys", error) from error
    return LogIn(database, keys, PasswordHashes(), AppPasswordPolicy())
