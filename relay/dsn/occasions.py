"""Occasions for a DSN: an attempt, an expiry, a drop by an operator, a mailbox closed.  Pure.

NOTIFY then decides whether a DSN is sent (`relay.dsn.rules`).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from relay.dsn.rules import RecipientResult, wanted
from relay.queue.attempt_result import AttemptResult
from relay.queue.model import Claim
from relay.queue.unreadable_body import reason_in
from relay.smtp.envelope import EnvelopeRecipient
from relay.smtp.failure_reason import FailureReason
from relay.smtp.outcome import Outcome, State
from relay.smtp.parameters import DsnNotify

_CLOSED: Final = "550 5.2.1 Mailbox closed while the message was on its way"


@dataclass(frozen=True, slots=True)
class ReportOccasion:
    """A delivery and its recipients with a new outcome.

    `notify_postmaster`: our postmaster gets a notice if no sender can be notified.
    """

    claim: Claim
    recipients: tuple[RecipientResult, ...]
    notify_postmaster: bool


def occasion_of(result: AttemptResult, life: timedelta) -> ReportOccasion:
    """Return the occasion for a result.

    Successes without NOTIFY=SUCCESS, the most frequent case, are left out.  `life`: how long mail
    is tried.
    """
    # Expired mail may have had an unreadable body: then no peer is the cause.
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
    return ReportOccasion(result.claim, recipients, notify_postmaster=True)


def occasion_of_drop(claim: Claim) -> ReportOccasion:
    """Return the occasion for a drop: each waiting recipient fails.

    The operator's reason for the drop is not in the DSN: it is internal.  No notice to the
    postmaster (`notify_postmaster`): the operator who drops a report knows it.
    """
    dropped = Outcome(State.FAILED, "")
    recipients = tuple(
        RecipientResult(one, dropped, reason=FailureReason.DROPPED) for one in claim.waiting
    )
    return ReportOccasion(claim, recipients, notify_postmaster=False)


def occasion_of_late(claim: Claim) -> ReportOccasion:
    """Return the occasion for mail that reached a mailbox of ours after its end.

    `claim` stands for the delivery: it never was in the queue, and NOTIFY is not known any more.
    """
    closed = Outcome(State.FAILED, _CLOSED)
    recipients = tuple(RecipientResult(one, closed, here=True) for one in claim.waiting)
    return ReportOccasion(claim, recipients, notify_postmaster=False)
