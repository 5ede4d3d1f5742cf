"""Delivery manager: leases due deliveries, runs their attempts, commits the results.

Delivery is at least once.  An attempt is recorded before it is made, and every claim returns to the
queue or leaves it: delivered, deferred, held, or kept as failed.  A duplicate is possible only
after a crash or a lost connection between the peer's `250` and our commit.  If the database stays
away, leases lapse: an attempt is aborted before its lease ends, unless the message is already sent.
Without a usable white list all mail waits (DOMAIN §3.3).
"""

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

import structlog

from foundation.failpoints import failpoint
from foundation.ids import RANDOM_OCTETS, new_id
from foundation.journal.writer import Journal
from mailstore.blobs.store import Store
from mailstore.errors import StoreUnavailable
from relay.client.routing import Router
from relay.delivery.attempt import SmtpDelivery
from relay.delivery.attempt_runner import AttemptRunner, Deliver
from relay.delivery.concurrency import ConcurrencyLimits
from relay.delivery.events import DeliveryEvents
from relay.delivery.expiry import ExpirySweeper
from relay.delivery.in_flight import DeliveryAttempt, InFlight, Progress
from relay.delivery.iteration_commit import Committed, IterationCommitter, PendingWrites
from relay.delivery.selection import NOTHING, NeedsRead, Selected, Selection
from relay.delivery.slots import DestinationSlots
from relay.delivery.watchdog import Watchdog
from relay.delivery.window import WindowPolicy
from relay.dsn.writer import DsnWriter
from relay.operator_labels import OTHER
from relay.policy.trust_state import TrustState
from relay.queue.attempt_result import AttemptResult
from relay.queue.due import read_queue
from relay.queue.model import PROBE, Claim, Lease, QueueSnapshot, Traffic, new_token
from relay.queue.retry import RetryPolicy
from relay.queue.wakeup import listen
from relay.smtp.address import SmtpAddress

_log = structlog.get_logger(__name__)

LOOP_INTERVAL: Final = 0.01  # seconds between two iterations, to gather writes


@dataclass(frozen=True, slots=True)
class DeliveryServices:
    """Services for delivery; `operator_of`: label of a domain's operator.

    `steady`: steady clock, for the age of mail; by default `clock`, which may jump.  `monotonic`:
    seconds.  If `takes_work` is False, attempts in flight go on, but there are no new attempts and
    no expiry.
    """

    store: Store
    trust_state: TrustState
    router: Router
    tls: Callable[[], ssl.SSLContext]
    journal: Journal
    clock: Callable[[], datetime]
    randomness: random.Random
    operator_of: Callable[[str], str] = lambda _domain: OTHER
    steady: Callable[[], datetime] | None = None
    monotonic: Callable[[], float] = time.monotonic
    takes_work: Callable[[], bool] = lambda: True


@dataclass(frozen=True, slots=True)
class DeliveryConfig:
    """Configuration; `owner`: this process in leases.  `poll`, `stuck`: seconds.

    `postmaster`: gets a notice if no sender can be notified.
    """

    hostname: str
    owner: str
    retry: RetryPolicy
    concurrency: int = 100
    poll: float = 2.0
    windows: WindowPolicy = field(default_factory=WindowPolicy)
    stuck: float = 1800.0
    postmaster: SmtpAddress | None = None


class DeliveryManager:
    """Runs delivery attempts concurrently, until stopped.

    `deliver` makes an attempt; by default over SMTP.
    """

    def __init__(
        self, services: DeliveryServices, config: DeliveryConfig, deliver: Deliver | None = None
    ) -> None:
        self._services = services
        self._config = config
        self._in_flight = InFlight()
        self._results: list[AttemptResult] = []  # to commit
        self._unattempted: list[Lease] = []  # to release
        self._wake = asyncio.Event()
        self._cancelled = False
        clock, monotonic, store = services.clock, services.monotonic, services.store
        steady = services.steady or clock
        self._limits = ConcurrencyLimits(config.windows, services.randomness, self._in_flight)
        self._selection = Selection(self._limits, config.concurrency, config.poll, clock, monotonic)
        self._slots = DestinationSlots(self._in_flight, self._window)
        self._smtp = SmtpDelivery(
            config.hostname, store, services.trust_state, services.router, services.tls, clock
        )
        self._runner = AttemptRunner(
            deliver or self._smtp.deliver,
            self._limits,
            self._slots,
            config.retry,
            clock,
            steady,
            monotonic,
            services.randomness,
        )
        self._watchdog = Watchdog(config.stuck, self._in_flight, monotonic)
        self._events = DeliveryEvents(services.journal, services.operator_of)
        dsn_writer = DsnWriter(
            store,
            config.hostname,
            config.postmaster,
            config.retry.life,
            self._new_id,
            services.journal.record,
        )
        self._committer = IterationCommitter(
            store, dsn_writer, config.owner, config.retry, services.randomness, clock
        )
        self._sweeper = ExpirySweeper(
            store.database,
            self._committer,
            self._events,
            config.retry,
            clock,
            steady,
            config.poll,
            self._takes_work,
            max(config.windows.probing.max_wait, PROBE),
            monotonic,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Main loop: try due deliveries until `stop`, then wait for the attempts in flight.

        The loop wakes on new mail, on the end of an attempt, and every `poll` seconds.  Each
        iteration selects deliveries, reads the queue if it may have changed, and commits all
        pending writes in one transaction.  New attempts begin once their leases are committed.
        """
        async with self._helpers(stop):
            while not stop.is_set() or self._in_flight or self._unwritten:
                selected, healthy = NOTHING, True
                try:
                    if not stop.is_set() and self._takes_work():
                        selected = await self._select()
                    if writes := self._pending(selected):
                        self._written(writes, await self._commit(writes))
                except StoreUnavailable as error:
                    # Results are kept until they are committed: a peer may have accepted the
                    # message.
                    self._committer.lapses.note_outage()
                    waiting = len(self._results)
                    _log.error("queue.unavailable", unsettled=waiting, detail=str(error))
                    healthy = False
                if self._cancelled and not self._in_flight and not (healthy and self._unwritten):
                    break  # finished attempts: results committed, unless the database is away
                await self._wait(more=selected.more, healthy=healthy)

    def cancel(self) -> None:
        """Abort the attempts in flight; the next start releases their leases."""
        self._cancelled = True
        for attempt in self._in_flight:
            attempt.cancel()
        self._wake.set()

    async def _select(self) -> Selected:
        """Select the deliveries to try next; read the queue if needed."""
        found = self._selection.next(self._room)
        if isinstance(found, NeedsRead):
            snapshot = await asyncio.to_thread(self._read, found, self._services.clock())
            found = self._selection.resume(found, snapshot, self._room)
        return found

    def _read(self, needs: NeedsRead, now: datetime) -> QueueSnapshot:
        with self._services.store.database.read() as connection:
            return read_queue(
                connection,
                now,
                needs.visits,
                round_due=needs.round_due,
                with_newest=needs.with_newest,
            )

    def _pending(self, selected: Selected) -> PendingWrites:
        return PendingWrites(
            results=self._results[:],
            health=dict(self._limits.changes),
            renewals=self._in_flight.renewals(self._services.monotonic()),
            unattempted=self._unattempted[:],
            wanted=[Lease(due.id, new_token()) for due in selected.deliveries],
            probes=selected.probes,
        )

    async def _commit(self, writes: PendingWrites) -> Committed:
        try:
            return await asyncio.to_thread(self._committer.commit, writes)
        except StoreUnavailable:
            # The commit may have succeeded although the connection broke.  Give these leases back.
            self._unattempted += writes.wanted
            raise

    def _written(self, writes: PendingWrites, committed: Committed) -> None:
        """Process a commit: drop the writes that are done, begin the attempts."""
        del self._results[: len(writes.results)]
        del self._unattempted[: len(writes.unattempted)]
        self._limits.note_written(writes.health)
        self._in_flight.note_renewed(committed.renewed, self._services.monotonic())
        if committed.queued:
            self._new_mail()
        for recorded in committed.recorded:
            self._events.tell(recorded)
        for claim in committed.claims:
            self._begin(claim, committed.sealed.get(claim.blob))

    def _begin(self, claim: Claim, sealed: bytes | None) -> None:
        failpoint("delivery.claimed")
        monotonic = self._services.monotonic
        progress = Progress(self._new_id(), sealed=sealed, monotonic=monotonic)
        attempt = DeliveryAttempt(claim, progress)
        task = asyncio.create_task(self._attempt(attempt))
        attempt.cancel = task.cancel
        self._in_flight.begin(attempt)
        task.add_done_callback(partial(self._ended, attempt))

    async def _attempt(self, attempt: DeliveryAttempt) -> None:
        result = await self._runner.run(attempt)
        if result is None:
            self._unattempted.append(attempt.claim.lease)
        else:
            self._results.append(result)

    def _ended(self, attempt: DeliveryAttempt, _task: asyncio.Task[None]) -> None:
        self._in_flight.end(attempt)
        self._selection.note_end(attempt.claim.domain)
        self._wake.set()

    async def _wait(self, *, more: bool, healthy: bool) -> None:
        """Wait for the next iteration; after a database error, always for `poll` seconds."""
        if not healthy:
            await asyncio.sleep(self._config.poll)
            return
        await asyncio.sleep(LOOP_INTERVAL)
        if not more:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._config.poll):
                    await self._wake.wait()
        self._wake.clear()

    @asynccontextmanager
    async def _helpers(self, stop: asyncio.Event) -> AsyncIterator[None]:
        """Run wake-up listener, watchdog and expiry scan beside the loop."""
        helpers = [
            asyncio.create_task(listen(self._services.store.database.url, self._new_mail)),
            asyncio.create_task(self._watchdog.watch()),
            asyncio.create_task(self._stop_at(stop)),
        ]
        sweeping = asyncio.create_task(self._sweeper.run(stop))
        try:
            yield
        finally:
            stop.set()
            for task in helpers:
                task.cancel()
            await asyncio.wait([*helpers, sweeping])
            await self._smtp.close()

    async def _stop_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._slots.close()
        self._wake.set()

    def _new_mail(self) -> None:
        self._selection.note_new_mail()
        self._wake.set()

    def _takes_work(self) -> bool:
        services = self._services
        return services.trust_state.snapshot.white_list is not None and services.takes_work()

    @property
    def _unwritten(self) -> bool:
        return bool(self._results or self._unattempted)

    @property
    def _room(self) -> int:
        return self._config.concurrency - len(self._in_flight)

    def _window(self, domain: str, traffic: Traffic) -> int:
        return self._limits.window(domain, traffic, self._services.clock())

    def _new_id(self) -> str:
        randomness = self._services.randomness.randbytes(RANDOM_OCTETS)
        return new_id(self._services.clock(), randomness)
