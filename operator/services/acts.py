"""Actions of people on domains, mailboxes, keys and content, with an audit event each.

A change is recorded after its commit.  Access to content is recorded before the content is output,
even if the output then fails.  A journal that cannot be written stops no action: the log reports
it, and the event is counted as lost.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial

from mailstore.blobs.store import Store

from ..assembly.file_owner import check_user
from ..assembly.relay import open_journal
from ..assembly.storage import open_store
from ..settings.model import Settings
from .actor import account_name

Record = Callable[..., None]


def login_name() -> str:
    """Login name of the user who runs this command."""
    return account_name(os.environ, os.getuid())


@contextmanager
def open_recorder(settings: Settings) -> Iterator[Record]:
    """Open the journal; yields `record(event, **facts)`, which adds the user's name.

    At the end the events are written.  Raises SettingsError.
    """
    check_user(settings)
    with closing(open_journal(settings, "command")) as journal:
        yield partial(journal.record, who=login_name())


@dataclass(frozen=True, slots=True)
class RecordedStore:
    """Store and `record(event, **facts)` for an action."""

    store: Store
    record: Record


@contextmanager
def open_recorded_store(settings: Settings) -> Iterator[RecordedStore]:
    """Open store and journal for an action.  Raises SettingsError."""
    with (
        open_recorder(settings) as record,
        closing(open_store(settings)) as store,
    ):
        yield RecordedStore(store, record)
