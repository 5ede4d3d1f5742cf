"""Keys of the audit trail as the configuration describes them, and the trail itself."""

from contextlib import closing
from pathlib import Path

from mailstore.audit.keys import AuditKeys, make_key_file
from mailstore.audit.ownership import begin, has_begun, is_ours
from mailstore.audit.trail import AuditTrail
from mailstore.db.database import Database
from mailstore.errors import InvalidKeys, StoreUnavailable

from ...settings.model import Settings, SettingsError
from ..clock import utc_now
from ..faults import settings_fault
from ..storage import open_database, storage_folder


def audit_keys_file(settings: Settings) -> Path:
    """Path of the key file, which need not exist."""
    given = settings.storage.audit_keys
    return settings.path(given) if given else storage_folder(settings) / "audit-keys"


def make_audit_keys(settings: Settings) -> Path | None:
    """Create the key file if it is missing, and begin the trail; the schema must be up to date.

    Returns its path if it was created, else None.  Raises SettingsError, also if the trail has
    begun with other keys, and Outage.
    """
    path = audit_keys_file(settings)
    with closing(open_database(settings)) as database:
        try:
            made = not path.exists()
            if made and has_begun(database):
                problem = "no such file, and the audit trail has begun with its keys"
                raise _refusal(settings, path, problem)
            if made:
                made = make_key_file(path, utc_now())
            begin(database, open_trail(settings, database).keys)
        except InvalidKeys as error:
            raise settings_fault(settings, "storage.audit_keys", error) from error
        except StoreUnavailable as error:
            raise settings_fault(settings, "storage", error) from error
    return path if made else None


def open_audit_keys(settings: Settings) -> AuditKeys:
    """Keys of the audit trail.  Raises SettingsError; a missing file is never made here."""
    path = audit_keys_file(settings)
    if not path.exists():
        raise SettingsError(
            f"{settings.origin}: storage.audit_keys: {path}: no such file; put it back from a "
            "backup, copy it from another machine of this store, or for a new store run: "
            f"mssante --config {settings.origin} db upgrade"
        )
    try:
        return AuditKeys(path)
    except InvalidKeys as error:
        raise settings_fault(settings, "storage.audit_keys", error) from error


def open_trail(settings: Settings, database: Database) -> AuditTrail:
    """Audit trail of a database whose schema is up to date.

    Raises SettingsError, also for keys of another store, and Outage.
    """
    keys = open_audit_keys(settings)
    try:
        ours = is_ours(database, keys)
    except StoreUnavailable as error:
        raise settings_fault(settings, "storage", error) from error
    if not ours:
        raise _refusal(settings, keys.path, "not the key file of this store's audit trail")
    return AuditTrail(keys)


def _refusal(settings: Settings, path: Path, problem: str) -> SettingsError:
    return SettingsError(
        f"{settings.origin}: storage.audit_keys: {path}: {problem}; put it back from a backup, "
        "or copy it from another machine of this store"
    )
