"""A courier's dealings with the database: one look at what is due, one transaction for all else.

Endings of several attempts, the health of destinations, leases and new claims become durable by
one commit, whose sync is what a delivery costs most.
"""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from foundation.failpoints import reached
from relay.dsn.bouncer import Report, Teller
from relay.queue.attempt_result import Ending
from relay.queue.destinations import begin_probe, write_health
from relay.queue.leases import claim, lease_expired, release_unattempted, renew, unleased
from relay.queue.model import (
    LEASE,
    PROBE,
    Claim,
    DestinationRow,
    Lease,
)
from relay.queue.retry import RetryPolicy
from relay.queue.settlement import hold_for_body, settle, settle_delivered
from relay.smtp.outcome import State


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction is to do: settle, note, renew, and take on.

    `reports` are those of endings, by their leases; `wanted` the leases to be of what is taken on,
    `probes` the numbers of those deliveries that are probes of dead destinations; `over` deliveries
    to be settled without an attempt; `unused` leases of those that were taken on and not tried.
    `lapsed` says whether leases that have lapsed count as none.
    """

    endings: Sequence[Ending] = ()
    reports: Mapping[Lease, Report] = field(default_factory=dict)
    health: Mapping[str, DestinationRow] = field(default_factory=dict)
    renewals: Sequence[Lease] = ()
    wanted: Sequence[Lease] = ()
    probes: Collection[int] = ()
    over: Sequence[int] = ()
    unused: Sequence[Lease] = ()
    lapsed: bool = True

    def __bool__(self) -> bool:
        return any((self.endings, self.health, self.renewals, self.wanted, self.over, self.unused))


@dataclass(frozen=True, slots=True)
class Written:
    """The states of the settled deliveries, None for a lost lease; what was taken on.

    `reports` are those that were kept, by the leases that ended; `renewed` has the leases that
    were still there; `sealed` the small bodies of what was taken on by name
    (`mailstore.blobs.bodies`); `queued` says that reports for other operators' senders came into
    the queue.
    """

    states: Sequence[State | None] = ()
    reports: Mapping[Lease, Report] = field(default_factory=dict)
    renewed: Collection[Lease] = ()
    claims: Sequence[Claim] = ()
    over: Sequence[Claim] = ()
    sealed: Mapping[str, bytes] = field(default_factory=dict)
    queued: bool = False


@dataclass(frozen=True, slots=True)
class Ledger:
    """Writes for one owner of leases."""

    owner: str
    retry: RetryPolicy
    randomness: random.Random
    teller: Teller

    def write(self, connection: Connection, batch: Batch, now: datetime) -> Written:
        """Do what the batch says, inside the caller's transaction."""
        if not batch.lapsed:
            batch = _without_leased(connection, batch)
        gone = self._conclude_all(connection, batch)
        states = [
            State.DELIVERED
            if ending.claim.lease in gone
            else self.conclude(connection, ending, batch.reports.get(ending.claim.lease), now)
            for ending in batch.endings
        ]
        for domain, row in batch.health.items():
            write_health(
                connection,
                domain,
                failures=row.failures,
                dead_until=row.dead_until,
                last_error=row.last_error,
            )
        renewed: Collection[Lease] = ()
        if batch.renewals:
            renewed = renew(connection, batch.renewals, now=now, lease=LEASE)
        if batch.unused:
            release_unattempted(connection, batch.unused, now=now)
        claims = self._take_on(connection, batch, now)
        over = []
        if batch.over:
            over = lease_expired(connection, batch.over, owner=self.owner, now=now, lease=LEASE)
        reports = _kept(batch, states) if batch.reports else {}
        queued = any(report[0].remote for report in reports.values())
        return Written(states, reports, renewed, claims, over, queued=queued)

    def _conclude_all(self, connection: Connection, batch: Batch) -> frozenset[Lease]:
        """Record at once the endings that are all of one kind: delivered, and nobody to tell."""
        told = batch.reports
        done = [
            ending.claim
            for ending in batch.endings
            if len(ending.delivered) == len(ending.claim.waiting)
            and not (told and ending.claim.lease in told)
        ]
        return settle_delivered(connection, done, self.owner) if len(done) > 1 else frozenset()

    def conclude(
        self, connection: Connection, ending: Ending, report: Report | None, now: datetime
    ) -> State | None:
        """Record one ending with its report; None if the lease had lapsed, and nobody is told."""
        state = settle(
            connection,
            ending.claim,
            ending.outcomes,
            error=ending.masked_error,
            now=ending.at,
            # By the clock of the day life is longer by as much as that jumped ahead.
            life=self.retry.life + (ending.at - ending.aged),
            told=bool(ending.late),
            unknown_until=ending.unknown_until,
        )
        if ending.held and state is State.WAITING:
            hold_for_body(connection, ending.claim.id, ending.held)
        if state is not None and report is not None:
            self.teller.keep(connection, [report], now)
            reached("delivery.reported")
        return state

    def _take_on(self, connection: Connection, batch: Batch, now: datetime) -> list[Claim]:
        if not batch.wanted:
            return []
        tokens = dict(batch.wanted)

        def take(among: Sequence[int]) -> list[Claim]:
            return claim(
                connection,
                owner=self.owner,
                now=now,
                lease=LEASE,
                limit=len(among),
                wait=self._wait,
                among=among,
                token=tokens.__getitem__,
            )

        taken = take([key for key in tokens if key not in batch.probes])
        for key in batch.probes:
            for one in take([key]):
                # Whoever moves the time of the next probe has this one.  It is the delivery that
                # says where it goes: its number may mean another by now.
                if begin_probe(connection, one.domain, now, now + PROBE):
                    taken.append(one)
                else:
                    release_unattempted(connection, [one.lease], now=now)
        return taken

    @property
    def _wait(self) -> Callable[[int], timedelta]:
        return lambda attempts: self.retry.wait(attempts, self.randomness.random())


def _without_leased(connection: Connection, batch: Batch) -> Batch:
    """The same but for what has a lease, be it lapsed."""
    keys = [*(one.id for one in batch.wanted), *batch.over]
    free = unleased(connection, keys) if keys else set()
    return replace(
        batch,
        wanted=[one for one in batch.wanted if one.id in free],
        probes=[key for key in batch.probes if key in free],
        over=[key for key in batch.over if key in free],
    )


def _kept(batch: Batch, states: Sequence[State | None]) -> dict[Lease, Report]:
    """The reports on what was settled."""
    ended = zip(batch.endings, states, strict=True)
    settled = {one.claim.lease for one, state in ended if state is not None}
    return {lease: report for lease, report in batch.reports.items() if lease in settled}
