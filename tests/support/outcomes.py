"""Ends of an attempt: delivered, refused."""

from datetime import timedelta

from relay.queue.attempt_result import Ending, ending
from relay.queue.model import Claim, Outcome, State
from tests.support.clock import NOW
from tests.support.office import RETRY, TO

LATER = NOW + timedelta(seconds=5)
REFUSED = Outcome(State.FAILED, "550 5.1.1 No such mailbox")
DELIVERED = Outcome(State.DELIVERED, "250 2.0.0 ok")


def ended(taken: Claim, outcome: Outcome) -> Ending:
    reason = "" if outcome is DELIVERED else "refused"
    return ending(taken, {TO: outcome}, error="", reason=reason, now=LATER, policy=RETRY)
