"""Writes of delivery in one transaction: results with their DSNs, health, new leases.

Results come before claims.  One commit makes a whole iteration durable: its fsync is the most
expensive step of a delivery.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection

from foundation.failpoints import failpoint
from relay.dsn.writer import DsnWriter, Report
from relay.queue.attempt_result import AttemptResult
from relay.queue.destinations import begin_probe, write_health
from relay.queue.leases import claim, release_unattempted, without_lease
from relay.queue.model import LEASE, PROBE, Claim, DestinationRow, Lease
from relay.queue.settlement import settle, settle_delivered
from relay.smtp.outcome import State


class Recorded(NamedTuple):
    """A result, the new state of its delivery, and the DSN stored with it.

    `state` is None if the lease was lost: another courier has the delivery, nothing was recorded.
    """

    result: AttemptResult
    state: State | None
    report: Report | None


def record_results(
    connection: Connection,
    results: Sequence[AttemptResult],
    reports: Mapping[Lease, Report],
    *,
    owner: str,
    dsn_writer: DsnWriter,
    now: datetime,
) -> list[Recorded]:
    """Record results with their DSNs (`reports`, by lease)."""
    gone = _record_delivered(connection, results, reports, owner)
    return [
        Recorded(one, State.DELIVERED, None)
        if one.claim.lease in gone
        else _record(connection, one, reports.get(one.claim.lease), dsn_writer, now)
        for one in results
    ]


def _record_delivered(
    connection: Connection,
    results: Sequence[AttemptResult],
    reports: Mapping[Lease, Report],
    owner: str,
) -> frozenset[Lease]:
    """Record in bulk the results that leave no row: all delivered, no DSN."""
    done = [
        one.claim
        for one in results
        if one.state is State.DELIVERED and not (reports and one.claim.lease in reports)
    ]
    return settle_delivered(connection, done, owner) if len(done) > 1 else frozenset()


def _record(
    connection: Connection,
    result: AttemptResult,
    report: Report | None,
    dsn_writer: DsnWriter,
    now: datetime,
) -> Recorded:
    state = settle(connection, result)
    if state is None:  # the lease was lost: no DSN
        return Recorded(result, None, None)
    if report is not None:
        dsn_writer.insert(connection, [report], now)
        failpoint("delivery.reported")
    return Recorded(result, state, report)


def record_health(connection: Connection, changes: Mapping[str, DestinationRow]) -> None:
    """Write which destinations died, are still dead, or are alive again."""
    for domain, row in changes.items():
        write_health(
            connection,
            domain,
            failures=row.failures,
            dead_until=row.dead_until,
            last_error=row.last_error,
        )


def claim_selected(
    connection: Connection,
    wanted: Sequence[Lease],
    probes: Collection[int],
    *,
    owner: str,
    now: datetime,
    wait: Callable[[int], timedelta],
    lapsed: bool,
) -> list[Claim]:
    """Take the proposed leases (number, token); return the claims.

    `probes`: numbers of deliveries for dead destinations.  `lapsed`: whether lapsed leases may be
    taken.  `wait(n)`: time from attempt n to the next.
    """
    if wanted and not lapsed:
        free = without_lease(connection, [one.id for one in wanted])
        wanted = [one for one in wanted if one.id in free]
    if not wanted:
        return []
    tokens = dict(wanted)

    def take(among: Sequence[int]) -> list[Claim]:
        return claim(
            connection,
            owner=owner,
            now=now,
            lease=LEASE,
            limit=len(among),
            wait=wait,
            among=among,
            token=tokens.__getitem__,
        )

    taken = take([key for key in tokens if key not in probes])
    for key in [key for key in tokens if key in probes]:
        for one in take([key]):
            # Only the process whose UPDATE succeeds may probe.  The claim's domain counts: after a
            # fail-over the number may belong to another delivery.
            if begin_probe(connection, one.domain, now, now + PROBE):
                taken.append(one)
            else:
                release_unattempted(connection, [one.lease], now=now)
    return taken
