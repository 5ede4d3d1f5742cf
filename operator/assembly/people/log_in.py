"""Log-in of accounts as the configuration describes it, and the keys of their secrets."""

from mailstore.audit.trail import AuditTrail
from mailstore.credentials.log_in import LogIn
from mailstore.credentials.passwords import PasswordHashes
from mailstore.db.database import Database
from mailstore.errors import InvalidKeys
from mailstore.sealed.keyring import Keyring

from ...settings.credentials import app_password_policy
from ...settings.model import Settings, SettingsError
from ..faults import settings_fault
from ..storage import keys_file


def credential_keys(settings: Settings) -> Keyring:
    """Keys that seal codes and app passwords: those of the store.  Raises SettingsError."""
    path = keys_file(settings)
    if not path.exists():
        raise SettingsError(
            f"{settings.origin}: storage.keys: {path}: no such file, and codes and app passwords "
            "are sealed with it; put it back from a backup, or for a store without encryption set "
            "storage.encryption to true for a while and run: "
            f"mssante --config {settings.origin} db upgrade"
        )
    try:
        return Keyring(path)
    except InvalidKeys as error:
        raise settings_fault(settings, "storage.keys", error) from error


def password_hashes(settings: Settings) -> PasswordHashes:
    """Hashing of passwords, for a whole process."""
    return PasswordHashes(settings.credentials.password_hashes)


def open_log_in(settings: Settings, database: Database, trail: AuditTrail | None) -> LogIn:
    """Log-in by passwords, codes, app passwords and shared ones of teams.  Raises SettingsError.

    Without a trail, nobody gets in by a shared password.
    """
    keys, policy = credential_keys(settings), app_password_policy(settings)
    return LogIn(database, keys, password_hashes(settings), policy, trail)
