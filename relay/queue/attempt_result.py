"""Result of an attempt, or of an expiry without an attempt, for all recipients.  Pure.

The reports to senders follow from it (RFC 3461 §5.2).  Each recipient is in one group at most, and
enters `failed`, `delivered` or `expired` once in the life of a delivery.
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
    """Result to settle; `reason` is None if every recipient has the message.

    `state`: new state of the delivery, by the recipients that waited until now.
    `relay.queue.settlement` records it, and the report says the same.
    `expired`: recipients that waited until the end of the queue's life.
    `late`: recipients that still wait; their sender gets a delay report.
    `unknown_until`: time of the next attempt if the peer may already have the message.
    `held`: reason why the delivery is held from now on; empty if it is not held.
    `at`: wall clock, stored.  `steady_at`: steady clock (without forward jumps), used only for age.
    """

    claim: Claim
    outcomes: Mapping[str, Outcome]
    error: str
    reason: FailureReason | None
    at: datetime
    steady_at: datetime
    state: State
    delivered: tuple[EnvelopeRecipient, ...]
    failed: tuple[EnvelopeRecipient, ...]
    expired: tuple[EnvelopeRecipient, ...]
    late: tuple[EnvelopeRecipient, ...]
    unknown_until: datetime | None = None
    held: str = ""

    @property
    def attempted(self) -> bool:
        """Whether an attempt was made; False if the delivery only expired or is late."""
        return self.reason is not FailureReason.OVERDUE

    @property
    def masked_error(self) -> str:
        """Error text without patients' identifiers, for all readers but the sender."""
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
    steady_now: datetime | None = None,
) -> AttemptResult:
    """Return the result for a claim; recipients without an outcome wait.

    After `policy.unknown_max_tries` unknown outcomes the recipients concerned fail: each further
    attempt may deliver a duplicate, and the sender can ask the recipient. `steady_now`: steady
    clock (`foundation.clock_watch`) for the age of mail; `now` by default. `jitter`, in [0, 1),
    serves unknown outcomes only: the next attempt after other results is already scheduled.
    """
    steady_now = now if steady_now is None else steady_now
    unknown_until = None
    if reason is FailureReason.UNKNOWN_OUTCOME:
        tries = claim.unknown_outcomes + 1
        unknown_until = now + policy.unknown_wait(tries, jitter)
        if tries >= policy.unknown_max_tries:
            outcomes = {**outcomes, **_given_up(claim, outcomes, error)}

    def in_state(state: State) -> tuple[EnvelopeRecipient, ...]:
        return tuple(
            one
            for one in claim.waiting
            if (outcomes[one.address].state if one.address in outcomes else State.WAITING) is state
        )

    waiting, failed = in_state(State.WAITING), in_state(State.FAILED)
    expired = waiting if policy.is_over(claim.created_at, steady_now) else ()
    return AttemptResult(
        claim=claim,
        outcomes=outcomes,
        error=error,
        reason=reason,
        at=now,
        steady_at=steady_now,
        state=_state(waits=waiting != expired, failed=bool(failed or expired)),
        delivered=in_state(State.DELIVERED),
        failed=failed,
        expired=expired,
        late=waiting
        if not claim.delay_told and policy.is_late(claim.created_at, steady_now)
        else (),
        unknown_until=unknown_until,
        held=mask_of(error, claim.recipients) if reason is not None and reason.body else "",
    )


def _state(*, waits: bool, failed: bool) -> State:
    if waits:
        return State.WAITING
    return State.FAILED if failed else State.DELIVERED


def _given_up(claim: Claim, outcomes: Mapping[str, Outcome], error: str) -> dict[str, Outcome]:
    """Fail the recipients with an unknown outcome.

    An aborted attempt has no outcomes: then all its recipients fail.
    """
    if not outcomes:
        return dict.fromkeys(claim.recipients, Outcome(State.FAILED, error))
    return {
        address: Outcome(State.FAILED, one.reply)
        for address, one in outcomes.items()
        if one.unknown
    }
