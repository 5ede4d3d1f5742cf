"""Attempt runner: runs an attempt from its slot to its result, whatever happens."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, cast

import structlog

from foundation.best_effort import best_effort
from foundation.privacy import mask_of
from mailstore.errors import NotFound, StoreUnavailable
from relay import metrics
from relay.client.routing import NoRoute
from relay.delivery.concurrency import ConcurrencyLimits
from relay.delivery.in_flight import DeliveryAttempt, Progress
from relay.delivery.slots import DestinationSlots
from relay.queue import unreadable_body
from relay.queue.attempt_result import AttemptResult, attempt_result
from relay.queue.model import Claim
from relay.queue.retry import RetryPolicy
from relay.smtp.errors import AttemptFailed
from relay.smtp.failure_reason import FailureReason
from relay.smtp.outcome import Outcome, State

_log = structlog.get_logger(__name__)

Deliver = Callable[[Claim, Progress], Awaitable[Mapping[str, Outcome]]]


class _AttemptEnd(NamedTuple):
    """Outcomes so far by recipient; error and reason unless all recipients have the message."""

    outcomes: Mapping[str, Outcome]
    error: str
    reason: FailureReason | None


@dataclass(slots=True)
class AttemptRunner:
    """Runs attempts; `deliver` makes an attempt that has a slot, and raises if there is no reply.

    `steady`: steady clock, for the age of mail.  `monotonic`: seconds.
    """

    deliver: Deliver
    limits: ConcurrencyLimits
    slots: DestinationSlots
    retry: RetryPolicy
    clock: Callable[[], datetime]
    steady: Callable[[], datetime]
    monotonic: Callable[[], float]
    randomness: random.Random

    async def run(self, attempt: DeliveryAttempt) -> AttemptResult | None:
        """Run an attempt and return its result; None if it was not made, for lack of a slot."""
        end = await self._run_to_end(attempt)
        if end is None:
            return None
        return attempt_result(
            attempt.claim,
            end.outcomes,
            error=end.error,
            reason=end.reason,
            now=self.clock(),
            policy=self.retry,
            jitter=self.randomness.random(),
            steady_now=self.steady(),
        )

    async def _run_to_end(self, attempt: DeliveryAttempt) -> _AttemptEnd | None:
        claim = attempt.claim
        try:
            probe = self.limits.is_dead(claim.domain)
            if not await self.slots.acquire(claim.domain, claim.traffic, at_once=probe):
                return None
            return self._end_with_outcomes(claim, await self._deliver(attempt))
        except (AttemptFailed, NoRoute) as failure:
            return self._end_with_failure(claim, failure)
        except asyncio.CancelledError:
            if not attempt.abort_reason:
                raise
            cast("asyncio.Task[None]", asyncio.current_task()).uncancel()
            return self._end_aborted(attempt)
        except (NotFound, StoreUnavailable, OSError) as failure:
            return _AttemptEnd({}, *unreadable_body.judged(failure))
        except Exception as failure:
            # Our own bug must not block the message until its lease lapses.
            session = attempt.progress.session
            _log.exception("delivery.error", delivery=claim.id, session=session)
            error = f"internal error: {type(failure).__name__}"
            return _AttemptEnd({}, error, FailureReason.INTERNAL)

    async def _deliver(self, attempt: DeliveryAttempt) -> Mapping[str, Outcome]:
        """Make the attempt, in its slot."""
        claim, began = attempt.claim, self.monotonic()
        try:
            return await self.deliver(claim, attempt.progress)
        finally:
            took = self.monotonic() - began
            self.limits.note_duration(claim.domain, took)
            self.slots.release(claim.domain)
            with best_effort:
                metrics.ATTEMPT_SECONDS.labels(claim.traffic.value).observe(took)

    def _end_with_outcomes(self, claim: Claim, outcomes: Mapping[str, Outcome]) -> _AttemptEnd:
        unknown = next((one.reply for one in outcomes.values() if one.unknown), None)
        if unknown is not None:
            if any(one.state is State.DELIVERED for one in outcomes.values()):
                self.limits.note_reachable(claim.domain)
            else:
                self._note_unreachable(claim, unknown)
            return _AttemptEnd(outcomes, unknown, FailureReason.UNKNOWN_OUTCOME)
        self.limits.note_reachable(claim.domain)
        error = next((o.reply for o in outcomes.values() if o.state is not State.DELIVERED), "")
        return _AttemptEnd(outcomes, error, FailureReason.REFUSED if error else None)

    def _end_with_failure(self, claim: Claim, failure: AttemptFailed | NoRoute) -> _AttemptEnd:
        error = str(failure)
        if failure.permanent:
            # A permanent failure is no outage: do not slow other mail for this domain.
            self.limits.note_reachable(claim.domain)
            failed = dict.fromkeys(claim.recipients, Outcome(State.FAILED, error))
            return _AttemptEnd(failed, error, failure.reason)
        if not failure.ours:  # otherwise not the destination's fault
            self._note_unreachable(claim, error)
        return _AttemptEnd({}, error, failure.reason)

    def _end_aborted(self, attempt: DeliveryAttempt) -> _AttemptEnd:
        error = f"broken off ({attempt.abort_reason}): {attempt.progress.phase}"
        if attempt.abort_reason is FailureReason.STUCK:
            self._note_unreachable(attempt.claim, error)
        return _AttemptEnd({}, error, attempt.reason)

    def _note_unreachable(self, claim: Claim, error: str) -> None:
        # The error is about one message's recipients, but every reader of the destination sees it.
        shown = mask_of(error, claim.recipients)
        if self.limits.note_unreachable(claim.domain, shown, self.clock()):
            _log.warning("destination.dead", domain=claim.domain, error=shown)
