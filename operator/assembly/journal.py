"""Trace journal as the configuration describes it."""

import os

from foundation.journal import files as journal_folder
from foundation.journal.writer import Journal

from ..settings.model import Settings
from .clock import utc_now
from .storage import storage_folder


def open_journal(settings: Settings, role: str) -> Journal:
    """Journal of this process.  Raises SettingsError."""
    return Journal(
        storage_folder(settings) / journal_folder.NAME,
        utc_now,
        process=f"{role}:{os.getpid()}",
        floor=settings.storage.min_free_bytes,
    )
