"""Acts of people on domains, mailboxes, keys and content, each with an event that says who did it.

An act that is done is recorded after its commit; content is given out after its event, whatever of
it then arrives.  A journal that cannot be written stops nobody: the error log says so, and the
event is counted as lost.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial

from mailstore.blobs.store import Store

from ..assembly import runtime
from ..assembly.file_owner import check_user
from ..settings.model import Settings
from .actor import account_name

Record = Callable[..., None]


def who() -> str:
    """The login name of whoever runs this command."""
    return account_name(os.environ, os.getuid())


@contextmanager
def recording(settings: Settings) -> Iterator[Record]:
    """Gives what records an act; at the end its events are written.  Raises SettingsError."""
    check_user(settings)
    with closing(runtime.open_journal(settings, "command")) as journal:
        yield partial(journal.record, who=who())


@dataclass(frozen=True, slots=True)
class Acting:
    """What an act needs: the store, and `record(event, **facts)`."""

    store: Store
    record: Record


@contextmanager
def acting(settings: Settings) -> Iterator[Acting]:
    """Open store and journal for an act.  Raises SettingsError."""
    with (
        recording(settings) as record,
        closing(runtime.open_store(settings)) as store,
    ):
        yield Acting(store, record)
