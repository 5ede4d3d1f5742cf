"""Metrics of recorded results."""

from collections.abc import Iterable
from typing import Final

from relay import metrics
from relay.queue.attempt_result import AttemptResult
from relay.smtp.failure_reason import FailureReason
from relay.smtp.outcome import State

# Reasons used by alert rules.
WATCHED: Final = (
    FailureReason.INTERNAL,
    FailureReason.STORE,
    FailureReason.STUCK,
    FailureReason.UNKNOWN_OUTCOME,
)


def begin(operators: Iterable[str]) -> None:
    """Start counters at 0: Prometheus sees no increase in a series that begins with an event.

    `operators`: labels known at the start of the process.
    """
    for operator in operators:
        metrics.DELIVERED.labels("peer", operator)
        for counter in (metrics.FAILED, metrics.EXPIRED, metrics.DELAYED, metrics.ATTEMPTS):
            counter.labels(operator)
        for reason in WATCHED:
            metrics.DEFERRED.labels(operator, reason)


def count(one: AttemptResult, state: State, operator: str) -> None:
    """Add a recorded result to the metrics; `operator`: label of the destination's operator."""
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
