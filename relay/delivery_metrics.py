"""What a recorded ending adds to the metrics."""

from relay import metrics
from relay.ending import Ending
from relay.queue import State


def count(one: Ending, state: State | None) -> None:
    """Add a recorded ending to the metrics."""
    if one.delivered:
        metrics.DELIVERED.labels("peer").inc(len(one.delivered))
        age = (one.at - one.claim.created_at).total_seconds()
        metrics.DELIVERY_SECONDS.labels(one.claim.traffic.value).observe(age)
    if one.failed:
        metrics.FAILED.inc(len(one.failed))
    if state is State.WAITING:
        metrics.DEFERRED.labels(one.reason or "refused").inc()
