"""Occasions for a report to a sender: an attempt, the end of a life, or an operator.  Pure.

Whether it is told is for NOTIFY to say (`relay.dsn.rules`).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from relay.dsn.rules import RecipientResult, wanted
from relay.queue.attempt_result import AttemptResult
from relay.queue.model import Claim
from relay.queue.unreadable_body import reason_in
from relay.smtp.envelope import EnvelopeRecipient
from relay.smtp.failure_reason import FailureReason
from relay.smtp.outcome import Outcome, State
from relay.smtp.parameters import DsnNotify


@dataclass(frozen=True, slots=True)
class ReportOccasion:
    """A delivery, and those of its recipients that there may be something to tell of.

    `lost` says that our postmaster is to hear of it if no sender can be told.
    """

    claim: Claim
    recipients: tuple[RecipientResult, ...]
    lost: bool


def occasion_of(result: AttemptResult, life: timedelta) -> ReportOccasion:
    """By a result; most are successes that nobody asked to hear of.

    `life` is how long mail is tried.
    """
    # Mail whose time is over may be mail whose body could not be read: that is no peer's doing.
    reason = reason_in(result.error) or result.reason

    def told(one: EnvelopeRecipient, until: datetime | None = None) -> RecipientResult:
        outcome = result.outcomes.get(one.address)
        answered = outcome is not None and result.reason is FailureReason.REFUSED
        return RecipientResult(
            one,
            outcome or Outcome(State.WAITING, result.error),
            reason=None if answered else reason,
            last_attempt=result.at,
            retry_until=until,
        )

    end = result.claim.created_at + life
    recipients = (
        *(told(one) for one in result.delivered if DsnNotify.SUCCESS in wanted(one.notify)),
        *(told(one) for one in result.failed),
        *(told(one) for one in result.expired),
        *(told(one, end) for one in result.late),
    )
    return ReportOccasion(result.claim, recipients, lost=True)


def occasion_of_drop(claim: Claim) -> ReportOccasion:
    """By an operator who drops it: nobody who still waits will get it.

    Why is between operators.  A report that is dropped is no news to the postmaster, who knows.
    """
    dropped = Outcome(State.FAILED, "")
    recipients = tuple(
        RecipientResult(one, dropped, reason=FailureReason.DROPPED) for one in claim.waiting
    )
    return ReportOccasion(claim, recipients, lost=False)
