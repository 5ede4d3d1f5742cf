"""What an attempt, or the end of a delivery's time, means for its recipients.  Pure.

Reports to senders follow from it (RFC 3461 §5.2): each recipient is in one of the groups at most,
and comes into `failed`, `delivered` or `expired` once in the life of a delivery.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from foundation.privacy import mask_of
from relay.queue.model import Claim
from relay.queue.retry import RetryPolicy
from relay.queue.unreadable_body import REASONS
from relay.smtp.envelope import EnvelopeRecipient
from relay.smtp.errors import UNKNOWN_OUTCOME
from relay.smtp.outcome import Outcome, State

OVERDUE: Final = "overdue"  # the reason of an ending without an attempt


@dataclass(frozen=True, slots=True)
class Ending:
    """A claim that is to be settled; `reason` is a metric's label, '' where all went well.

    `expired` waited to the end of the queue's life; `late` are those whose senders are to be told
    that they still wait.  `unknown_until` is when to try again what the peer may have already.
    `held` is why it is held from now on, empty if it is not.
    `at` is by the clock of the day, as whatever is stored; `aged` by that by which mail grows old.
    """

    claim: Claim
    outcomes: Mapping[str, Outcome]
    error: str
    reason: str
    at: datetime
    aged: datetime
    delivered: tuple[EnvelopeRecipient, ...]
    failed: tuple[EnvelopeRecipient, ...]
    expired: tuple[EnvelopeRecipient, ...]
    late: tuple[EnvelopeRecipient, ...]
    unknown_until: datetime | None = None
    held: str = ""

    @property
    def attempted(self) -> bool:
        """Whether it is the end of an attempt, not that of a delivery's time alone."""
        return self.reason != OVERDUE

    @property
    def masked_error(self) -> str:
        """The error for everybody but the sender: no patient can be told from it."""
        return mask_of(self.error, self.claim.recipients)


def ending(
    claim: Claim,
    outcomes: Mapping[str, Outcome],
    *,
    error: str,
    reason: str,
    now: datetime,
    policy: RetryPolicy,
    jitter: float = 0.0,
    aged: datetime | None = None,
) -> Ending:
    """What became of a claim's recipients; those without an outcome wait.

    Those of whom the peer may have the message, and that as often as the policy bears, fail: each
    further try may be one more copy, and their sender can ask them.
    `aged` is the steady time by which mail grows old (`foundation.clock_watch`), by default `now`.
    """
    aged = now if aged is None else aged
    unknown_until = None
    if reason == UNKNOWN_OUTCOME:
        tries = claim.unknown_outcomes + 1
        unknown_until = now + policy.unknown_wait(tries, jitter)
        if tries >= policy.unknown_most:
            outcomes = {**outcomes, **_given_up(claim, outcomes, error)}

    def those(state: State) -> tuple[EnvelopeRecipient, ...]:
        return tuple(
            one
            for one in claim.waiting
            if (outcomes[one.address].state if one.address in outcomes else State.WAITING) is state
        )

    waiting = those(State.WAITING)
    return Ending(
        claim=claim,
        outcomes=outcomes,
        error=error,
        reason=reason,
        at=now,
        aged=aged,
        delivered=those(State.DELIVERED),
        failed=those(State.FAILED),
        expired=waiting if policy.is_over(claim.created_at, aged) else (),
        late=waiting if not claim.delay_told and policy.is_late(claim.created_at, aged) else (),
        unknown_until=unknown_until,
        held=mask_of(error, claim.recipients) if reason in REASONS else "",
    )


def _given_up(claim: Claim, outcomes: Mapping[str, Outcome], error: str) -> dict[str, Outcome]:
    """The end for the recipients of whom nobody knows whether they have it.

    All of them if the attempt was broken off, which leaves no outcome of anybody.
    """
    if not outcomes:
        return dict.fromkeys(claim.recipients, Outcome(State.FAILED, error))
    return {
        address: Outcome(State.FAILED, one.reply)
        for address, one in outcomes.items()
        if one.unknown
    }
