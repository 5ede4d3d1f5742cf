"""Log-in of accounts, as configured, and the keys of their secrets."""

from mailstore.blobs.store import Store
from mailstore.credentials.log_in import LogIn
from mailstore.credentials.passwords import PasswordHashes
from mailstore.sealed.keyring import Keyring

from ..settings.credentials import app_password_policy
from ..settings.model import Settings, SettingsError


def credential_keys(settings: Settings, store: Store) -> Keyring:
    """Keys that seal codes and app passwords.  Raises SettingsError if there are none."""
    keys = store.blobs.blob_format.keys
    if keys is None:
        raise SettingsError(
            f"{settings.origin}: storage.encryption: codes and app passwords are sealed with the "
            "keys of the store, and it has none; set it to true and run: "
            f"mssante --config {settings.origin} db upgrade"
        )
    return keys


def password_hashes(settings: Settings) -> PasswordHashes:
    """Hashing of passwords, for a whole process."""
    return PasswordHashes(settings.credentials.password_hashes)


def make_log_in(settings: Settings, store: Store) -> LogIn:
    """Log-in for the doors of a process.  Raises SettingsError without keys."""
    keys = credential_keys(settings, store)
    return LogIn(store.database, keys, password_hashes(settings), app_password_policy(settings))
