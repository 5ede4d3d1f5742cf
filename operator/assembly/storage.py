"""The store as the configuration describes it: its folder, database, keys and bodies."""

import os
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path

from mailstore.blobs.bodies import Bodies
from mailstore.blobs.file_store import FileBlobStore
from mailstore.blobs.interface import BlobStore
from mailstore.blobs.store import Store
from mailstore.db.database import Database
from mailstore.db.sealed_columns import NO_SEAL, TextSeal
from mailstore.errors import InvalidKeys, MailstoreError, StoreUnavailable, UnfitDatabase
from mailstore.sealed.address_seal import AddressSeal
from mailstore.sealed.blob_format import BlobFormat
from mailstore.sealed.compression import Zstd
from mailstore.sealed.keyring import Keyring, make_first
from mailstore.sealed.row_seal import RowSeal
from relay.machines.clock_difference import ClockComparison

from ..settings.model import Settings, SettingsError, owner_of
from . import store_mark
from .clock import utc_now
from .database.database_check import fit_revision
from .database.schema_revision import REVISION
from .faults import settings_fault
from .s3 import open_bucket

_DRAFTS_ROOM = 8 * 1024 * 1024  # octets of drafts kept in memory; more go to temporary files


_SAMPLE = 16  # number of blobs whose keys are checked when the store is opened


def storage_folder(settings: Settings) -> Path:
    """Storage folder.  Raises SettingsError if it is missing or not accessible."""
    folder = settings.path(settings.storage.directory)
    if folder.is_dir() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise SettingsError(
            f"{settings.origin}: storage.directory: no read and write access to {folder}; "
            f"run the command as {owner_of(folder)}"
        )
    if not folder.is_dir():
        raise SettingsError(
            f"{settings.origin}: storage.directory: {folder} is not a folder; "
            f"create it and run: mssante --config {settings.origin} db upgrade"
        )
    return folder


def open_database(settings: Settings) -> Database:
    """Database handle; no connection is made yet.  Raises SettingsError for an unusable URL."""
    if not settings.storage.database:
        storage_folder(settings)
    try:
        return Database(settings.database_url, seal=_row_seal(settings))
    except MailstoreError as error:  # no outside service is involved yet
        raise SettingsError(f"{settings.origin}: storage.database: {error}") from error


def _row_seal(settings: Settings) -> TextSeal:
    """Seal of addresses in rows; without usable keys none, and `open_store` says why."""
    try:
        keys = Keyring(keys_file(settings))
    except (InvalidKeys, SettingsError):
        return NO_SEAL
    return AddressSeal(keys, encrypt=settings.storage.encryption)


def keys_file(settings: Settings) -> Path:
    """Path of the key file, which need not exist."""
    storage = settings.storage
    return settings.path(storage.keys) if storage.keys else storage_folder(settings) / "keys"


def make_keys(settings: Settings) -> Path | None:
    """Create the key file if encryption is on and the file is missing.

    Returns its path if it was created, else None.  Raises SettingsError, also if existing blobs
    need the missing keys, and Outage.
    """
    path = keys_file(settings)
    if not settings.storage.encryption or path.exists():
        return None
    with closing(open_database(settings)) as database:
        try:
            if store_mark.has_key(database):
                raise store_mark.refusal(settings, path)
        except StoreUnavailable as error:
            raise settings_fault(settings, "storage", error) from error
        _open_bodies(settings, database, BlobFormat()).close()
    try:
        make_first(path, utc_now())
    except InvalidKeys as error:
        raise settings_fault(settings, "storage.keys", error) from error
    return path


def _open_form(settings: Settings) -> BlobFormat:
    storage, path = settings.storage, keys_file(settings)
    if storage.encryption and not path.exists():
        raise SettingsError(
            f"{settings.origin}: storage.keys: {path}: no such file; restore it from a backup, "
            f"or for a new store run: mssante --config {settings.origin} db upgrade"
        )
    try:
        keys = Keyring(path) if path.exists() else None
    except InvalidKeys as error:
        raise settings_fault(settings, "storage.keys", error) from error
    try:
        codec = Zstd() if storage.compression == "zstd" else None
    except StoreUnavailable as error:
        raise settings_fault(settings, "storage.compression", error) from error
    return BlobFormat(keys, codec, encrypt=storage.encryption)


def _make_blobs(settings: Settings, form: BlobFormat) -> BlobStore:
    folder = storage_folder(settings)
    try:
        if settings.storage.s3.bucket:
            return open_bucket(settings, folder / "drafts", form, utc_now, _DRAFTS_ROOM)
        return FileBlobStore(folder / "blobs", form, _DRAFTS_ROOM)
    except StoreUnavailable as error:
        raise settings_fault(settings, "storage", error) from error


def _open_bodies(settings: Settings, database: Database, form: BlobFormat) -> Bodies:
    """Open the bodies; refuse if a key that a sample of them needs is missing."""
    with ExitStack() as opened:
        blobs = opened.enter_context(closing(_make_blobs(settings, form)))
        try:
            bodies = Bodies(blobs, database, utc_now, settings.storage.small_body_bytes)
            used = bodies.keys_used(_SAMPLE)
        except StoreUnavailable as error:
            raise settings_fault(settings, "storage", error) from error
        lacking = used - (form.keys.names if form.keys is not None else set())
        if lacking:
            raise SettingsError(
                f"{settings.origin}: storage.keys: key {min(lacking).hex()} missing in "
                f"{keys_file(settings)}, needed by messages; restore it from a backup, "
                "or copy it from another machine of this store"
            )
        opened.pop_all()
        return bodies


def open_store(settings: Settings, *, mark: bool = False) -> Store:
    """Open the store; check schema, keys and mark.  `mark`: give a new store its mark.

    Raises SettingsError and Outage.
    """
    storage_folder(settings)
    with ExitStack() as opened:
        database = opened.enter_context(closing(open_database(settings)))
        try:
            found = fit_revision(database)
        except StoreUnavailable as error:
            # An error of this installation takes precedence: it must end the daemon's start.
            _make_blobs(settings, _open_form(settings)).close()
            raise settings_fault(settings, "storage", error) from error
        except UnfitDatabase as error:
            raise settings_fault(settings, "storage.database", error) from error
        if found != REVISION:
            raise SettingsError(
                f"{settings.origin}: storage.database: schema is at {found or 'nothing'}, "
                f"this version needs {REVISION}; "
                f"run: mssante --config {settings.origin} db upgrade"
            )
        bodies = opened.enter_context(
            closing(_open_bodies(settings, database, _open_form(settings)))
        )
        try:
            store_mark.verify(settings, keys_file(settings), database, bodies, anew=mark)
        except StoreUnavailable as error:
            raise settings_fault(settings, "storage", error) from error
        opened.pop_all()
        return Store(bodies, database)


def row_seal(store: Store) -> RowSeal:
    """Seal of texts in rows: names of folders and keywords, summaries, notes."""
    return RowSeal(store.blobs.blob_format.keys)


def compare_clocks(settings: Settings, database: Database) -> ClockComparison:
    """Comparison of this machine's clock with the database's; no query is made yet."""
    max_difference = timedelta(seconds=settings.storage.max_clock_difference_seconds)
    return ClockComparison(database, max_difference, utc_now)
