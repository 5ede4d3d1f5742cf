"""Local submission from the command line, recorded in the journal."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from foundation.journal.writer import Journal
from mailstore.audit.event import AuditActor, Door
from mailstore.audit.trail import AuditTrail
from mailstore.blobs.store import Store
from relay.acceptance.recipient_lookup import RecipientLookup
from relay.policy.trust_state import TrustState
from relay.submission.local import LocalSubmitter
from relay.submission.sending_quota import RefusalTrail

from ..assembly import policies
from ..assembly.clock import make_id, utc_now
from ..assembly.file_owner import check_user
from ..assembly.journal import open_journal
from ..assembly.people.audit import open_trail
from ..assembly.relay import postmaster_address
from ..assembly.storage import open_store
from ..assembly.trust import open_trust, open_trust_state
from ..settings.model import Settings
from ..settings.sending import sending_limits
from .acts import login_name


@contextmanager
def open_submitter(settings: Settings) -> Iterator[LocalSubmitter]:
    """Open a submitter of messages from local mailboxes.  Raises SettingsError."""
    check_user(settings)
    with (
        closing(open_store(settings)) as store,
        closing(open_journal(settings, "command")) as journal,
    ):
        trust_state = open_trust_state(settings, open_trust(settings))
        trail = open_trail(settings, store.database)
        yield make_submitter(settings, store, journal, trust_state, trail)


def make_submitter(
    settings: Settings,
    store: Store,
    journal: Journal,
    trust_state: TrustState,
    trail: AuditTrail,
    door: Door = Door.COMMAND,
) -> LocalSubmitter:
    """Submitter for the user of this process, who comes by `door`.  Raises SettingsError."""
    who = login_name()
    actor = AuditActor(account=None, unix_user=who, door=door)
    return LocalSubmitter(
        hostname=settings.operator.hostname,
        policy=policies.policy(settings),
        store=store,
        lookup=RecipientLookup(
            store.database, postmaster=postmaster_address(settings), now=utc_now
        ),
        trust_state=trust_state,
        clock=utc_now,
        new_id=make_id,
        record=journal.record,
        who=who,
        limits=sending_limits(settings),
        refusals=RefusalTrail(trail, actor),
    )
