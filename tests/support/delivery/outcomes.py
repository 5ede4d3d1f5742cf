"""Results of attempts: delivered, refused."""

from datetime import timedelta

from relay.delivery.iteration_commit import Committed
from relay.queue.attempt_result import AttemptResult, attempt_result
from relay.queue.model import Claim, Lease
from relay.smtp.failure_reason import FailureReason
from relay.smtp.outcome import Outcome, State
from tests.support.clock import NOW
from tests.support.delivery.delivery_store import RETRY, TO

LATER = NOW + timedelta(seconds=5)
REFUSED = Outcome(State.FAILED, "550 5.1.1 No such mailbox")
DELIVERED = Outcome(State.DELIVERED, "250 2.0.0 ok")


def states(committed: Committed) -> list[State | None]:
    return [one.state for one in committed.recorded]


def told(committed: Committed) -> set[Lease]:
    """The leases of the deliveries with a report."""
    return {one.result.claim.lease for one in committed.recorded if one.report is not None}


def ended(taken: Claim, outcome: Outcome) -> AttemptResult:
    reason = None if outcome is DELIVERED else FailureReason.REFUSED
    return attempt_result(taken, {TO: outcome}, error="", reason=reason, now=LATER, policy=RETRY)
