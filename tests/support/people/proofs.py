"""Proofs of identity for tests."""

from mailstore.credentials.proof import Method, Proof
from tests.support.clock import NOW


def shown(method: Method, factors: int, mailbox_id: int | None = None) -> Proof:
    """Proof of the account 1, which no rule looks at: the account's facts come beside it."""
    return Proof(
        account=1, factors=factors, method=method, credential_id=None, mailbox_id=mailbox_id, at=NOW
    )
