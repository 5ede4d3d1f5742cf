"""Commit of an iteration: one transaction, or one for each result if that is refused."""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from foundation.failpoints import failpoint
from mailstore.blobs.store import Store
from mailstore.errors import StoreUnavailable
from relay.delivery.iteration_transaction import (
    Recorded,
    claim_selected,
    record_health,
    record_results,
)
from relay.dsn.writer import DsnWriter, Report
from relay.queue.attempt_result import AttemptResult
from relay.queue.lapses import Lapses
from relay.queue.leases import lease_without_attempt, release_unattempted, renew, without_lease
from relay.queue.model import LEASE, Claim, DestinationRow, Lease
from relay.queue.retry import RetryPolicy

_log = structlog.get_logger(__name__)

_Rest = TypeVar("_Rest")


@dataclass(frozen=True, slots=True)
class PendingWrites:
    """All writes of one iteration of the delivery loop.

    `results`: of ended attempts.  `health`: of changed destinations.  `renewals`: leases to renew.
    `unattempted`: leases to release.  `wanted`: leases of the deliveries to try next.  `probes`:
    numbers among them that are for dead destinations.
    """

    results: Sequence[AttemptResult]
    health: Mapping[str, DestinationRow]
    renewals: Sequence[Lease]
    unattempted: Sequence[Lease]
    wanted: Sequence[Lease]
    probes: Collection[int]

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return any((self.results, self.health, self.renewals, self.unattempted, self.wanted))


@dataclass(frozen=True, slots=True)
class Committed:
    """Result of a commit: results `recorded`, in order; leases `renewed`; new `claims`.

    `sealed`: small bodies of the claims by name (`mailstore.blobs.bodies`).
    """

    recorded: Sequence[Recorded]
    renewed: Collection[Lease]
    claims: Sequence[Claim]
    sealed: Mapping[str, bytes]

    @property
    def queued(self) -> bool:
        """Whether DSNs for senders at other operators were queued."""
        return any(one.report is not None and one.report[0].remote for one in self.recorded)


@dataclass(frozen=True, slots=True)
class IterationCommitter:
    """Commits for one `owner` of leases; called in a thread.  Raises StoreUnavailable.

    `lapses`: whether lapsed leases may be taken.
    """

    store: Store
    dsn_writer: DsnWriter
    owner: str
    retry: RetryPolicy
    randomness: random.Random
    clock: Callable[[], datetime]
    lapses: Lapses = field(default_factory=Lapses)

    def commit(self, writes: PendingWrites) -> Committed:
        """Commit one iteration of the delivery loop.

        The small bodies of all claims are read at once.
        """

        def rest(connection: Connection, now: datetime) -> tuple[Collection[Lease], list[Claim]]:
            record_health(connection, writes.health)
            renewed: Collection[Lease] = ()
            if writes.renewals:
                renewed = renew(connection, writes.renewals, now=now, lease=LEASE)
            if writes.unattempted:
                release_unattempted(connection, writes.unattempted, now=now)
            return renewed, claim_selected(
                connection,
                writes.wanted,
                writes.probes,
                owner=self.owner,
                now=now,
                wait=self._wait,
                lapsed=self.lapses.may_be_taken,
            )

        recorded, (renewed, claims) = self._commit(writes.results, rest)
        return Committed(recorded, renewed, claims, self._bodies(claims))

    def record(self, results: Sequence[AttemptResult]) -> Sequence[Recorded]:
        """Commit results only."""
        return self._commit(results, lambda _connection, _now: None)[0]

    def lease_without_attempt(self, keys: Sequence[int]) -> Sequence[Claim]:
        """Lease late or expired deliveries, to settle them without an attempt; skip leased ones."""
        now = self.clock()
        with self.store.database.write() as connection:
            if not self.lapses.may_be_taken:
                keys = sorted(without_lease(connection, keys))
            return lease_without_attempt(connection, keys, owner=self.owner, now=now, lease=LEASE)

    def _commit(
        self,
        results: Sequence[AttemptResult],
        rest: Callable[[Connection, datetime], _Rest],
    ) -> tuple[Sequence[Recorded], _Rest]:
        """Record results with their DSNs, then the rest, in one transaction."""
        database, now = self.store.database, self.clock()
        reports = self.dsn_writer.compose(results, now)
        try:
            with database.write() as connection:
                failpoint("delivery.settling")
                recorded = self._record(connection, results, reports, now)
                done = rest(connection, now)
                failpoint("delivery.settled")
        except DBAPIError:
            # A result cannot be recorded: find it, commit the others.  Its lease will lapse.
            _log.exception("queue.batch_refused")
        else:
            failpoint("delivery.committed")
            return recorded, done
        recorded = [self._record_alone(one, reports, now) for one in results]
        with database.write() as connection:
            return recorded, rest(connection, now)

    def _record_alone(
        self, result: AttemptResult, reports: Mapping[Lease, Report], now: datetime
    ) -> Recorded:
        # If the database refuses the DSN, the result is recorded without it.
        for told in (reports, {}) if result.claim.lease in reports else ({},):
            try:
                with self.store.database.write() as connection:
                    return self._record(connection, [result], told, now)[0]
            except DBAPIError:
                _log.exception(
                    "queue.ending_refused", delivery=result.claim.id, with_report=bool(told)
                )
        return Recorded(result, None, None)

    def _record(
        self,
        connection: Connection,
        results: Sequence[AttemptResult],
        reports: Mapping[Lease, Report],
        now: datetime,
    ) -> list[Recorded]:
        return record_results(
            connection, results, reports, owner=self.owner, dsn_writer=self.dsn_writer, now=now
        )

    def _bodies(self, claims: Sequence[Claim]) -> Mapping[str, bytes]:
        # Without them each attempt reads its own body, and finds the error.
        with suppress(StoreUnavailable):
            return self.store.blobs.sealed({one.blob for one in claims}) if claims else {}
        return {}

    def _wait(self, attempts: int) -> timedelta:
        return self.retry.wait(attempts, self.randomness.random())
