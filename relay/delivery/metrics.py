"""What a recorded ending adds to the metrics."""

from collections.abc import Iterable
from typing import Final

from relay import metrics
from relay.queue.attempt_result import AttemptResult
from relay.smtp.failure_reason import FailureReason
from relay.smtp.outcome import State

# Reasons that alerts look at.
WATCHED: Final = (
    FailureReason.INTERNAL,
    FailureReason.STORE,
    FailureReason.STUCK,
    FailureReason.UNKNOWN_OUTCOME,
)


def begin(operators: Iterable[str]) -> None:
    """Have counters begin with 0: Prometheus sees no rise in a series that begins with its event.

    Of operators by their labels, those that are known when a process starts.
    """
    for operator in operators:
        metrics.DELIVERED.labels("peer", operator)
        for counter in (metrics.FAILED, metrics.EXPIRED, metrics.DELAYED, metrics.ATTEMPTS):
            counter.labels(operator)
        for reason in WATCHED:
            metrics.DEFERRED.labels(operator, reason)


def count(one: AttemptResult, state: State, operator: str) -> None:
    """Add a recorded ending to the metrics; `operator` is the label of its destination's."""
    if one.delivered:
        metrics.DELIVERED.labels("peer", operator).inc(len(one.delivered))
        age = (one.aged - one.claim.created_at).total_seconds()
        metrics.DELIVERY_SECONDS.labels(one.claim.traffic.value).observe(age)
    if one.failed:
        metrics.FAILED.labels(operator).inc(len(one.failed))
    if one.expired:
        metrics.EXPIRED.labels(operator).inc(len(one.expired))
    if one.late:
        metrics.DELAYED.labels(operator).inc()
    if one.attempted:
        metrics.ATTEMPTS.labels(operator).inc()
        if state is State.WAITING:
            metrics.DEFERRED.labels(operator, one.reason or FailureReason.REFUSED).inc()
