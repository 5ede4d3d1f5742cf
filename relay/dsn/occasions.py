"""What there may be to tell the sender of a delivery: by an attempt, or by an operator.  Pure.

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
from relay.smtp.outcome import State
from relay.smtp.parameters import Notify


@dataclass(frozen=True, slots=True)
class ReportOccasion:
    """A delivery, and what became of those of its recipients that there may be news of.

    `lost` says that our postmaster is to hear of it where no sender can be told.
    """

    claim: Claim
    became: tuple[RecipientResult, ...]
    lost: bool


def news_of(ending: AttemptResult, life: timedelta) -> ReportOccasion:
    """By an attempt, or the end of its time; most are successes that nobody asked to hear of.

    `life` is how long mail is tried.
    """
    # Mail whose time is over may be one whose body could not be read: that is no peer's doing.
    reason = reason_in(ending.error) or ending.reason

    def became(
        one: EnvelopeRecipient, state: State, until: datetime | None = None
    ) -> RecipientResult:
        outcome = ending.outcomes.get(one.address)
        return RecipientResult(
            one.address,
            state,
            one.notify,
            one.orcpt,
            reply=outcome.reply if outcome else ending.error,
            reason=None if outcome and ending.reason is FailureReason.REFUSED else reason,
            dsn=outcome.dsn if outcome else False,
            last_attempt=ending.at,
            retry_until=until,
        )

    end = ending.claim.created_at + life
    told = (
        *(
            became(one, State.DELIVERED)
            for one in ending.delivered
            if Notify.SUCCESS in wanted(one.notify)
        ),
        *(became(one, State.FAILED) for one in ending.failed),
        *(became(one, State.WAITING) for one in ending.expired),
        *(became(one, State.WAITING, end) for one in ending.late),
    )
    return ReportOccasion(ending.claim, told, lost=True)


def news_of_drop(claim: Claim) -> ReportOccasion:
    """By an operator who drops it: nobody who still waits will get it.

    Why is between operators.  A report that is dropped is no news to the postmaster, who knows.
    """
    told = tuple(
        RecipientResult(
            one.address, State.FAILED, one.notify, one.orcpt, reason=FailureReason.DROPPED
        )
        for one in claim.waiting
    )
    return ReportOccasion(claim, told, lost=False)
