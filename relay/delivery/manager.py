"""Delivery: takes due messages from the queue, has them tried, records what came of it.

Delivery is at least once.  An attempt is recorded before it is made, and every claim ends in the
queue again or out of it: delivered, put off, held, or kept as failed.  The only window for a
duplicate is a crash, or a lost connection, between the peer's `250` and our commit.  While the
database is away a lease lapses at last; an attempt that has lost it is broken off, unless the
message is already sent.  Without a usable white list all waits (DOMAIN §3.3).

Main loop: wakes on new mail, on the end of an attempt, and every `poll` seconds.  Each iteration
reads due deliveries if they may have changed, then commits all pending writes in one transaction.
"""

import asyncio
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, cast

import structlog

from foundation.best_effort import best_effort
from foundation.failpoints import reached
from foundation.ids import RANDOM_OCTETS, new_id
from foundation.journal.writer import Journal
from foundation.privacy import mask_of
from mailstore.blobs.store import Store
from mailstore.errors import NotFound, StoreUnavailable
from relay import metrics
from relay.client.routing import NoRoute, Router
from relay.delivery.attempt import Handing, Progress
from relay.delivery.concurrency import Congestion
from relay.delivery.events import DeliveryEvents
from relay.delivery.expiry import Sweeper
from relay.delivery.operator_labels import OTHER
from relay.delivery.selection import Picking
from relay.delivery.slots import Gate
from relay.delivery.turn_commit import Settling
from relay.delivery.turn_transaction import Batch, Ledger
from relay.delivery.watchdog import Watchdog, Watched
from relay.delivery.window import WindowPolicy
from relay.dsn.bouncer import Teller
from relay.policy.trust_state import Perimeter
from relay.queue import unreadable_body
from relay.queue.attempt_result import Ending, ending
from relay.queue.due import read_queue
from relay.queue.model import PROBE, Claim, Due, Lease, QueueSnapshot, Traffic, new_token
from relay.queue.retry import RetryPolicy
from relay.queue.wakeup import listen
from relay.smtp.address import Address
from relay.smtp.errors import UNKNOWN_OUTCOME, AttemptFailed
from relay.smtp.outcome import Outcome, State

_log = structlog.get_logger(__name__)

BREATH: Final = 0.01  # seconds between two turns, in which what is to be written gathers

HandOver = Callable[[Claim, Progress], Awaitable[Mapping[str, Outcome]]]


@dataclass(frozen=True, slots=True)
class Services:
    """What delivery works with, passed in; `operator_of` labels the operator of a domain.

    `steady` is the clock by which mail grows old: by default `clock`, which may jump.  `monotonic`
    is in seconds.  Unless `takes_work`, only attempts under way go on: no new ones, no expiry.
    """

    store: Store
    perimeter: Perimeter
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
class Settings:
    """`owner` names this process in leases; `poll` and `stuck` are in seconds.

    `postmaster` hears of what no sender can be told.
    """

    hostname: str
    owner: str
    retry: RetryPolicy
    concurrency: int = 100
    poll: float = 2.0
    windows: WindowPolicy = field(default_factory=WindowPolicy)
    stuck: float = 1800.0
    postmaster: Address | None = None


class Courier:
    """Runs delivery attempts side by side until stopped.

    `hand_over` makes an attempt; by default over SMTP.
    """

    def __init__(
        self, services: Services, settings: Settings, hand_over: HandOver | None = None
    ) -> None:
        self._services = services
        self._settings = settings
        self._handing = Handing(
            settings.hostname,
            services.store,
            services.perimeter,
            services.router,
            services.tls,
            services.clock,
        )
        self._hand_over = hand_over or self._handing.deliver
        self._steady = services.steady or services.clock
        self._congestion = Congestion(settings.windows, services.randomness)
        self._picking = Picking(self._congestion, settings.concurrency, services.clock)
        self._gate = Gate(self._width)
        teller = Teller(
            services.store,
            settings.hostname,
            settings.postmaster,
            settings.retry.life,
            self._new_id,
            services.journal.record,
        )
        ledger = Ledger(settings.owner, settings.retry, services.randomness, teller)
        self._settling = Settling(services.store, ledger, services.clock)
        self._events = DeliveryEvents(services.journal, services.operator_of)
        self._sweeper = Sweeper(
            services.store.database,
            self._settling,
            self._events,
            settings.retry,
            services.clock,
            self._steady,
            settings.poll,
            self._works,
            max(settings.windows.probing.most, PROBE),
            services.monotonic,
        )
        self._watchdog = Watchdog(settings.stuck, services.monotonic)
        self._attempts: set[asyncio.Task[None]] = set()
        self._endings: list[Ending] = []
        self._unused: list[Lease] = []
        self._wake = asyncio.Event()
        self._woken = False  # told of new mail
        self._polled = float("-inf")
        self._abandoned = False

    async def run(self, stop: asyncio.Event) -> None:
        """Take and try due deliveries until `stop`, then let those under way come to their end."""
        helpers = [
            asyncio.create_task(listen(self._services.store.database.url, self._new_mail)),
            asyncio.create_task(self._watchdog.watch()),
            asyncio.create_task(self._wake_at(stop)),
        ]
        sweeping = asyncio.create_task(self._sweeper.run(stop))
        try:
            while not (stop.is_set() and not self._attempts and not self._unwritten):
                well = await self._turn(stopping=stop.is_set())
                # What ended as it was told to is written, unless that cannot be.
                if self._abandoned and not self._attempts and not (well and self._unwritten):
                    break
                await self._rest(well=well)
        finally:
            stop.set()
            for task in helpers:
                task.cancel()
            await asyncio.wait([*helpers, sweeping])
            await self._handing.close()

    def cancel(self) -> None:
        """Break off the attempts under way; their leases are released at the next start."""
        self._abandoned = True
        for task in self._attempts:
            task.cancel()
        self._wake.set()

    @property
    def _unwritten(self) -> bool:
        return bool(self._endings or self._unused)

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._gate.close()
        self._wake.set()

    def _works(self) -> bool:
        services = self._services
        return services.perimeter.snapshot.white_list is not None and services.takes_work()

    def _new_mail(self) -> None:
        self._woken = True
        self._wake.set()

    async def _rest(self, *, well: bool) -> None:
        """Wait for a reason to turn; while the database is unwell, for the poll alone."""
        if not well:
            await asyncio.sleep(self._settings.poll)
            return
        await asyncio.sleep(BREATH)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.poll):
                await self._wake.wait()
        self._wake.clear()

    async def _turn(self, *, stopping: bool) -> bool:
        """Look and write once; False if the database is unwell."""
        try:
            picked: list[Due] = []
            if not stopping and self._works():
                picked = await self._pick()
            await self._write(picked)
        except StoreUnavailable as error:
            self._settling.lapses.away()
            # What the peer took must not be sent again: insist until it is written down.
            _log.error("queue.unavailable", unsettled=len(self._endings), detail=str(error))
            return False
        return True

    async def _pick(self) -> list[Due]:
        """Choose what to try now, having looked at the queue if there may be news."""
        now = self._services.monotonic()
        polls = now - self._polled >= self._settings.poll
        if polls:
            self._polled = now
            self._picking.feeding.begin()
        picked: list[Due] = [] if polls or self._woken else self._picking.take([], self._room)
        if polls or self._woken or (len(picked) < self._room and not self._picking.feeding.rests):
            await self._look(around=polls or self._woken)
            picked = self._picking.take(picked, self._room)
            if not self._picking.feeding.rests and len(picked) < self._room:
                self._wake.set()
        return self._picking.take(picked, self._room, ahead=True)

    @property
    def _room(self) -> int:
        return self._settings.concurrency - len(self._attempts)

    def _width(self, domain: str, traffic: Traffic) -> int:
        return self._congestion.width(domain, traffic, self._services.clock())

    async def _look(self, *, around: bool) -> None:
        self._woken = False
        now, round_due = self._services.clock(), self._picking.feeding.due
        visits = self._picking.visits()

        def read() -> QueueSnapshot:
            with self._services.store.database.read() as connection:
                return read_queue(connection, now, visits, round_due=round_due, around=around)

        seen = await asyncio.to_thread(read)
        self._picking.learn(seen)

    async def _write(self, picked: Sequence[Due]) -> None:
        """Write what is to be written, and begin what was taken on."""
        endings, health = self._endings[:], dict(self._congestion.changes)
        renewals = self._watchdog.renewals()
        batch = Batch(
            endings=endings,
            health=health,
            renewals=renewals,
            wanted=[Lease(due.id, new_token()) for due in picked],
            probes=[due.id for due in picked if self._congestion.is_dead(due.domain)],
            unused=self._unused[:],
        )
        if not batch:
            return
        try:
            written = await asyncio.to_thread(self._settling.commit, batch)
        except StoreUnavailable:
            # It may be committed, and only we not have heard: then those are leased, and not tried.
            self._unused += batch.wanted
            raise
        del self._endings[: len(endings)]
        del self._unused[: len(batch.unused)]
        self._congestion.written(health)
        self._watchdog.renewed(written.renewed)
        if written.queued:
            self._new_mail()
        for one, state in zip(endings, written.states, strict=True):
            self._events.tell(one, state, written.reports.get(one.claim.lease))
        for taken in written.claims:
            self._begin(taken, written.sealed.get(taken.blob))

    def _new_id(self) -> str:
        randomness = self._services.randomness.randbytes(RANDOM_OCTETS)
        return new_id(self._services.clock(), randomness)

    def _begin(self, taken: Claim, sealed: bytes | None) -> None:
        reached("delivery.claimed")
        monotonic = self._services.monotonic
        watched = Watched(taken, Progress(self._new_id(), sealed=sealed, monotonic=monotonic))
        task = asyncio.create_task(self._attempt(watched))
        self._attempts.add(task)
        self._congestion.begun(taken)
        self._watchdog.begin(task, watched)
        task.add_done_callback(lambda ended: self._ended(ended, taken))

    def _ended(self, task: asyncio.Task[None], taken: Claim) -> None:
        self._attempts.discard(task)
        self._congestion.ended(taken)
        self._picking.feeding.freed(taken.domain)
        self._wake.set()

    async def _attempt(self, watched: Watched) -> None:
        taken, progress = watched.claim, watched.progress
        outcomes: Mapping[str, Outcome] = {}
        error = ""
        try:
            probes = self._congestion.is_dead(taken.domain)
            if not await self._gate.enter(taken.domain, taken.traffic, at_once=probes):
                self._unused.append(taken.lease)
                return
            outcomes = await self._speak(taken, progress)
            error, reason = _said(outcomes)
            if reason == UNKNOWN_OUTCOME and not _has_some(outcomes, State.DELIVERED):
                self._congestion_failed(taken, error)
            else:
                self._congestion.succeeded(taken.domain)
        except (AttemptFailed, NoRoute) as failure:
            error, reason = str(failure), failure.reason
            if failure.permanent:
                # Nobody is spared by letting the rest of its mail wait for what is known.
                self._congestion.succeeded(taken.domain)
                outcomes = dict.fromkeys(taken.recipients, Outcome(State.FAILED, error))
            else:
                self._congestion_failed(taken, error, ours=failure.ours)
        except asyncio.CancelledError:
            if not watched.broken:
                raise
            cast("asyncio.Task[None]", asyncio.current_task()).uncancel()
            error, reason = f"broken off ({watched.broken}): {progress.phase}", watched.reason
            if watched.broken == "stuck":
                self._congestion_failed(taken, error)
        except (NotFound, StoreUnavailable, OSError) as failure:
            error, reason = unreadable_body.judged(failure)
        except Exception as failure:
            # A fault of ours must not strand the message under its lease.
            _log.exception("delivery.error", delivery=taken.id, session=progress.session)
            error, reason = f"internal error: {type(failure).__name__}", "internal"
        self._end(taken, outcomes, error=error, reason=reason)

    async def _speak(self, taken: Claim, progress: Progress) -> Mapping[str, Outcome]:
        """Make the attempt, which has its place."""
        began = self._services.monotonic()
        try:
            return await self._hand_over(taken, progress)
        finally:
            took = self._services.monotonic() - began
            self._congestion.took(taken.domain, took)
            self._gate.leave(taken.domain)
            with best_effort:
                metrics.ATTEMPT_SECONDS.labels(taken.traffic.value).observe(took)

    def _congestion_failed(self, taken: Claim, error: str, *, ours: bool = False) -> None:
        if ours:
            return  # the destination has no part in it
        # All who look at the destination see it, and it is about one message's recipients.
        shown = mask_of(error, taken.recipients)
        if self._congestion.failed(taken.domain, shown, self._services.clock()):
            _log.warning("destination.dead", domain=taken.domain, error=shown)

    def _end(
        self, taken: Claim, outcomes: Mapping[str, Outcome], *, error: str, reason: str
    ) -> None:
        """Have a claim settled at the next turn."""
        self._endings.append(
            ending(
                taken,
                outcomes,
                error=error,
                reason=reason,
                now=self._services.clock(),
                policy=self._settings.retry,
                jitter=self._services.randomness.random(),
                aged=self._steady(),
            )
        )
        self._wake.set()


def _said(outcomes: Mapping[str, Outcome]) -> tuple[str, str]:
    """The error and the reason of an attempt that was answered, empty if all have the message."""
    unknown = next((one.reply for one in outcomes.values() if one.unknown), None)
    if unknown is not None:
        return unknown, UNKNOWN_OUTCOME
    error = next((o.reply for o in outcomes.values() if o.state is not State.DELIVERED), "")
    return error, "refused" if error else ""


def _has_some(outcomes: Mapping[str, Outcome], state: State) -> bool:
    return any(one.state is state for one in outcomes.values())
