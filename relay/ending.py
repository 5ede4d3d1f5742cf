"""What an attempt, or the end of a delivery's time, means for its recipients.  Pure.

Reports to senders follow from it (RFC 3461 §5.2): each recipient is in one of the groups at most,
and comes into `failed`, `delivered` or `expired` once in the life of a delivery.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from relay.envelope import EnvelopeRecipient
from relay.masking import mask_of
from relay.queue import Claim, Outcome, State
from relay.retry import RetryPolicy

OVERDUE: Final = "overdue"  # the reason of an ending without an attempt


@dataclass(frozen=True, slots=True)
class Ending:
    """A claim that is to be settled; `reason` is a metric's label, '' where all went well.

    `expired` waited to the end of the queue's life; `late` are those whose senders are to be told
    that they still wait.
    """

    claim: Claim
    outcomes: Mapping[str, Outcome]
    error: str
    reason: str
    at: datetime
    delivered: tuple[EnvelopeRecipient, ...]
    failed: tuple[EnvelopeRecipient, ...]
    expired: tuple[EnvelopeRecipient, ...]
    late: tuple[EnvelopeRecipient, ...]

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
) -> Ending:
    """What became of a claim's recipients; those without an outcome wait."""

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
        delivered=those(State.DELIVERED),
        failed=those(State.FAILED),
        expired=waiting if policy.is_over(claim.created_at, now) else (),
        late=waiting if not claim.delay_told and policy.is_late(claim.created_at, now) else (),
    )
