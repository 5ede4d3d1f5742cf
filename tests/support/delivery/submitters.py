"""Submitter of operator A, whose list has the domains of three operators and of patients."""

from collections.abc import Callable
from pathlib import Path

from mailstore.blobs.store import Store
from relay.acceptance.recipient_lookup import RecipientLookup
from relay.policy.admission import AdmissionPolicy
from relay.policy.header_from import HeaderFromPolicy
from relay.submission.local import LocalSubmitter
from tests.support.clock import system_clock
from tests.support.ids import make_id
from tests.support.machines.operators import trust_space
from tests.support.machines.perimeters import trust_state


def local_submitter(
    store: Store, folder: Path, record: Callable[..., None] = lambda *_, **__: None
) -> LocalSubmitter:
    """Submitter with small limits of size."""
    space = trust_space()
    listed = ("a.mssante.fr", "b.mssante.fr", "c.mssante.fr", "patient.mssante.fr")
    white_list = space.space.sign_list(
        {domain: space.operators[domain[0].replace("p", "c")] for domain in listed}
    )
    follower = trust_state(folder, white_list, space.trust, system_clock, crls=space.crls)
    return LocalSubmitter(
        hostname="smtp.a.mssante.fr",
        policy=AdmissionPolicy(1000, HeaderFromPolicy.REFUSE, patient_max_bytes=800),
        store=store,
        lookup=RecipientLookup(store.database, now=system_clock),
        trust_state=follower,
        clock=system_clock,
        new_id=make_id,
        record=record,
    )
