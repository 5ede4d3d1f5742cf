"""Result of an attempt, or of the end of a delivery's life, for its recipients.  Pure.

Reports to senders follow from it (RFC 3461 §5.2): each recipient is in one of the groups at most,
and comes into `failed`, `delivered` or `expired` once in the life of a delivery.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from foundation.privacy import mask_of
from relay.queue.model import Claim
from relay.queue.retry import RetryPolicy
from relay.smtp.envelope import EnvelopeRecipient
from relay.smtp.failure_reason import FailureReason
from relay.smtp.outcome import Outcome, State


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """A claim to be settled; `reason` is None if every recipient has the message.

    `state` is that of the delivery from now on, by those of its recipients that waited until now:
    `relay.queue.settlement` records it, and the report tells the same.  `expired` waited to the end
    of the queue's life; the senders of `late` are to be told that these still wait.
    `unknown_until` is the time of the next attempt if the peer may have the message already.
    `held` is why the delivery is held from now on, empty if it is not.
    `at` is by the clock of the day, as all that is stored; `aged` by that by which mail grows old.
    """

    claim: Claim
    outcomes: Mapping[str, Outcome]
    error: str
    reason: FailureReason | None
    at: datetime
    aged: datetime
    state: State
    delivered: tuple[EnvelopeRecipient, ...]
    failed: tuple[EnvelopeRecipient, ...]
    expired: tuple[EnvelopeRecipient, ...]
    late: tuple[EnvelopeRecipient, ...]
    unknown_until: datetime | None = None
    held: str = ""

    @property
    def attempted(self) -> bool:
        """Whether there was an attempt, not only the end of a delivery's time."""
        return self.reason is not FailureReason.OVERDUE

    @property
    def masked_error(self) -> str:
        """The error for everybody but the sender: no patient can be told from it."""
        return mask_of(self.error, self.claim.recipients)


def attempt_result(
    claim: Claim,
    outcomes: Mapping[str, Outcome],
    *,
    error: str,
    reason: FailureReason | None,
    now: datetime,
    policy: RetryPolicy,
    jitter: float = 0.0,
    aged: datetime | None = None,
) -> AttemptResult:
    """The result for a claim's recipients; those without an outcome wait.

    Recipients whose outcome was unknown as often as the policy bears fail: each further attempt may
    be one more copy, and their sender can ask them.
    `aged` is the steady time by which mail grows old (`foundation.clock_watch`), by default `now`.
    """
    aged = now if aged is None else aged
    unknown_until = None
    if reason is FailureReason.UNKNOWN_OUTCOME:
        tries = claim.unknown_outcomes + 1
        unknown_until = now + policy.unknown_wait(tries, jitter)
        if tries >= policy.unknown_most:
            outcomes = {**outcomes, **_given_up(claim, outcomes, error)}

    def in_state(state: State) -> tuple[EnvelopeRecipient, ...]:
        return tuple(
            one
            for one in claim.waiting
            if (outcomes[one.address].state if one.address in outcomes else State.WAITING) is state
        )

    waiting, failed = in_state(State.WAITING), in_state(State.FAILED)
    expired = waiting if policy.is_over(claim.created_at, aged) else ()
    return AttemptResult(
        claim=claim,
        outcomes=outcomes,
        error=error,
        reason=reason,
        at=now,
        aged=aged,
        state=_state(waits=waiting != expired, failed=bool(failed or expired)),
        delivered=in_state(State.DELIVERED),
        failed=failed,
        expired=expired,
        late=waiting if not claim.delay_told and policy.is_late(claim.created_at, aged) else (),
        unknown_until=unknown_until,
        held=mask_of(error, claim.recipients) if reason is not None and reason.body else "",
    )


def _state(*, waits: bool, failed: bool) -> State:
    if waits:
        return State.WAITING
    return State.FAILED if failed else State.DELIVERED


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
