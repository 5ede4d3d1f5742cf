"""Local submission from the command line, recorded in the journal."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from foundation.journal.writer import Journal
from mailstore.blobs.store import Store
from relay.acceptance.recipient_lookup import RecipientLookup
from relay.submission.local import LocalSubmitter

from ..assembly import policies, runtime
from ..assembly.file_owner import check_user
from ..settings.model import Settings
from .acts import login_name


@contextmanager
def open_submitter(settings: Settings) -> Iterator[LocalSubmitter]:
    """Open a submitter of messages from local mailboxes.  Raises SettingsError."""
    check_user(settings)
    with (
        closing(runtime.open_store(settings)) as store,
        closing(runtime.open_journal(settings, "command")) as journal,
    ):
        yield _submitter(settings, store, journal)


def _submitter(settings: Settings, store: Store, journal: Journal) -> LocalSubmitter:
    return LocalSubmitter(
        hostname=settings.operator.hostname,
        policy=policies.policy(settings),
        store=store,
        directory=RecipientLookup(store.database, postmaster=runtime.postmaster(settings)),
        trust_state=runtime.open_trust_state(settings, runtime.open_trust(settings)),
        clock=runtime.clock,
        new_id=runtime.make_id,
        record=journal.record,
        who=login_name(),
    )
