"""Events of deliveries for journal, log and metrics, after a result is recorded.

`mssante trace ID` follows a message by these events to its end (docs/trace.md).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import structlog

from foundation.best_effort import best_effort
from foundation.journal.writer import Journal
from relay import metrics
from relay.delivery.iteration_transaction import Recorded
from relay.dsn.writer import Report
from relay.queue.attempt_result import AttemptResult
from relay.smtp.failure_reason import FailureReason
from relay.smtp.outcome import State

_log = structlog.get_logger(__name__)

# Reasons used by alert rules.
WATCHED: Final = (
    FailureReason.INTERNAL,
    FailureReason.STORE,
    FailureReason.STUCK,
    FailureReason.UNKNOWN_OUTCOME,
)


def begin_counters(operators: Iterable[str]) -> None:
    """Start counters at 0: Prometheus sees no increase in a series that begins with an event.

    `operators`: labels known at the start of the process.
    """
    for operator in operators:
        metrics.DELIVERED.labels("peer", operator)
        for counter in (metrics.FAILED, metrics.EXPIRED, metrics.DELAYED, metrics.ATTEMPTS):
            counter.labels(operator)
        for reason in WATCHED:
            metrics.DEFERRED.labels(operator, reason)


@dataclass(frozen=True, slots=True)
class DeliveryEvents:
    """Events of one process; `operator_of`: label of a domain's operator."""

    journal: Journal
    operator_of: Callable[[str], str]

    def tell(self, recorded: Recorded) -> None:
        """Publish a recorded result.  Never raises: lost events do not change the result."""
        with best_effort:
            self._tell(*recorded)

    def _tell(self, one: AttemptResult, state: State | None, report: Report | None) -> None:
        error = one.masked_error
        if one.attempted:
            facts = {
                "attempt": one.claim.attempts,
                "state": state,
                "reason": one.reason or "",
                "recipients": len(one.claim.recipients),
                "error": error,
            }
            self._record(one, "delivery.attempted", **facts)
        if state is None:
            return
        _count(one, state, self.operator_of(one.claim.domain))
        if one.held and state is State.WAITING:
            self._record(one, "delivery.held", why=one.held)
        if one.late:
            self._record(one, "delivery.delayed", recipients=len(one.late), error=error)
        if one.expired:
            number = len(one.expired)
            self._record(one, "delivery.expired", recipients=number, error=error)
        if report is not None:
            message, _ = report
            to = [str(local.address) for local in message.local]
            to += [str(address) for group in message.remote.values() for address in group]
            self._record(one, "report.sent", report=message.id, to=to)

    def _record(self, one: AttemptResult, event: str, **facts: object) -> None:
        named = {"delivery": one.claim.id, "domain": one.claim.domain, **facts}
        self.journal.record(event, message=one.claim.message_id, **named)
        if event == "delivery.held":  # a person must restore the body
            _log.error(event, message=one.claim.message_id, **named)
        elif event != "report.sent":  # addresses only in the journal
            _log.info(event, message=one.claim.message_id, **named)


def _count(one: AttemptResult, state: State, operator: str) -> None:
    """Add a recorded result to the metrics; `operator`: label of the destination's operator."""
    if one.delivered:
        metrics.DELIVERED.labels("peer", operator).inc(len(one.delivered))
        age = (one.steady_at - one.claim.created_at).total_seconds()
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
