"""Delivery: takes due messages from the queue, tries the peer's hosts, records what came of it.

Every claim ends in the queue again or out of it: delivered, put off, or kept as failed.  The only
window for a duplicate is a crash, or a lost connection, between the peer's `250` and our commit.
Without a usable white list the queue is held: nothing is tried and nothing fails (DOMAIN §3.3).
"""

import asyncio
import random
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from mailstore.errors import StoreUnavailable
from relay import metrics
from relay.acceptance import Store
from relay.conversation import AttemptFailed, Terms
from relay.envelope import Envelope, EnvelopeRecipient, Letter
from relay.journal import Journal, mask
from relay.peers import Peers
from relay.perimeter import Perimeter
from relay.queue import Claim, Outcome, State, claim, settle
from relay.retry import RetryPolicy
from relay.route import NoRoute, Router
from relay.server_admission import examine_server

_log = structlog.get_logger(__name__)

CHUNK: Final = 256 * 1024
LEASE: Final = timedelta(minutes=30)  # longer than any conversation may last
_CONVERSATION: Final = LEASE.total_seconds() - 120


@dataclass(frozen=True, slots=True)
class Services:
    """What delivery works with, passed in."""

    store: Store
    perimeter: Perimeter
    router: Router
    tls: Callable[[], ssl.SSLContext]
    journal: Journal
    clock: Callable[[], datetime]
    randomness: random.Random


@dataclass(frozen=True, slots=True)
class Settings:
    """`owner` names this process in leases; `poll` is in seconds."""

    hostname: str
    owner: str
    retry: RetryPolicy
    concurrency: int = 20
    poll: float = 0.5


class Courier:
    """Runs delivery attempts side by side until stopped."""

    def __init__(self, services: Services, settings: Settings) -> None:
        self._services = services
        self._settings = settings
        self._running: set[asyncio.Task[None]] = set()
        self._peers = Peers(Terms(settings.hostname, services.tls, self._judge))

    async def run(self, stop: asyncio.Event) -> None:
        """Take and try due deliveries until `stop`, then let those under way come to their end."""
        while not stop.is_set():
            for taken in await self._take():
                task = asyncio.create_task(self._attempt(taken))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._settings.poll)
        if self._running:
            await asyncio.wait(self._running)
        await self._peers.close()

    def cancel(self) -> None:
        """Break off the attempts under way; their leases are released at the next start."""
        for task in self._running:
            task.cancel()

    async def _take(self) -> list[Claim]:
        free = self._settings.concurrency - len(self._running)
        if free <= 0 or self._services.perimeter.snapshot.white_list is None:
            return []
        try:
            return await asyncio.to_thread(self._claim, free)
        except StoreUnavailable as error:
            _log.error("queue.unavailable", detail=str(error))
            return []

    def _claim(self, limit: int) -> list[Claim]:
        jitter = self._services.randomness.random
        with self._services.store.database.write() as connection:
            return claim(
                connection,
                owner=self._settings.owner,
                now=self._services.clock(),
                lease=LEASE,
                limit=limit,
                wait=lambda attempts: self._settings.retry.wait(attempts, jitter()),
            )

    async def _attempt(self, taken: Claim) -> None:
        log = _log.bind(delivery=taken.id, message=taken.message_id, domain=taken.domain)
        outcomes: Mapping[str, Outcome] = {}
        error = ""
        try:
            async with asyncio.timeout(_CONVERSATION):
                outcomes = await self._deliver(taken)
            error = next((o.reply for o in outcomes.values() if o.state is not State.DELIVERED), "")
            reason = "refused" if error else ""
        except AttemptFailed as failure:
            error, reason = str(failure), failure.reason
        except NoRoute as failure:
            error, reason = str(failure), "no-route"
            if failure.permanent:
                outcomes = dict.fromkeys(taken.recipients, Outcome(State.FAILED, error))
        except TimeoutError:
            error, reason = "the conversation took too long", "timeout"
        except (StoreUnavailable, OSError) as failure:
            error, reason = f"message could not be read: {failure}", "store"
        except Exception as failure:
            # A fault of ours must not strand the message under its lease.
            log.exception("delivery.error")
            error, reason = f"internal error: {type(failure).__name__}", "internal"
        state = await self._settle(taken, outcomes, error)
        self._count(outcomes, state, reason)
        facts = {
            "attempt": taken.attempts,
            "state": state,
            "reason": reason,
            "recipients": len(taken.recipients),
            "error": mask(error),
        }
        self._services.journal.record(
            "delivery.attempted",
            message=taken.message_id,
            delivery=taken.id,
            domain=taken.domain,
            **facts,
        )
        log.info("delivery.attempted", **facts)

    async def _settle(
        self, taken: Claim, outcomes: Mapping[str, Outcome], error: str
    ) -> State | None:
        def record() -> State | None:
            with self._services.store.database.write() as connection:
                return settle(
                    connection,
                    taken,
                    outcomes,
                    error=error,
                    now=self._services.clock(),
                    life=self._settings.retry.life,
                )

        while True:
            try:
                return await asyncio.to_thread(record)
            except StoreUnavailable as failure:
                # What the peer took must not be sent again: insist until it is written down.
                _log.error("queue.unavailable", delivery=taken.id, detail=str(failure))
                await asyncio.sleep(self._settings.poll)

    async def _deliver(self, taken: Claim) -> Mapping[str, Outcome]:
        self._check_listed(taken.domain)
        targets = await self._services.router.targets(taken.domain)
        recipients = tuple(EnvelopeRecipient(address) for address in taken.recipients)
        envelope = Envelope(taken.sender, recipients, taken.smtputf8)
        trace = taken.trace.encode("ascii")
        answers = await self._peers.hand_over(
            taken.domain,
            targets,
            lambda: Letter(envelope, self._octets(taken, trace), len(trace) + taken.size),
        )
        return {address: Outcome(one.state, one.reply) for address, one in answers.items()}

    def _check_listed(self, domain: str) -> None:
        white_list = self._services.perimeter.snapshot.white_list
        if white_list is None or not white_list.names_of(domain):
            raise AttemptFailed("not-listed", f"{domain} is not on the white list now")

    async def _judge(self, domain: str, der: bytes | None, version: str, cipher: str) -> None:
        server = await self._services.perimeter.identify_peer(der, version, cipher)
        snapshot = self._services.perimeter.snapshot
        for finding in examine_server(server, snapshot.white_list, snapshot.problem, domain):
            if not finding.passed:
                detail = f"server refused by rule {finding.rule}: {finding.evidence}"
                raise AttemptFailed(f"server-{finding.rule}", detail)

    async def _octets(self, taken: Claim, trace: bytes) -> AsyncGenerator[bytes, None]:
        yield trace
        with await asyncio.to_thread(self._services.store.blobs.open, taken.blob) as body:
            while chunk := await asyncio.to_thread(body.read, CHUNK):
                yield chunk

    def _count(self, outcomes: Mapping[str, Outcome], state: State | None, reason: str) -> None:
        for outcome in outcomes.values():
            if outcome.state is State.DELIVERED:
                metrics.DELIVERED.labels("peer").inc()
            elif outcome.state is State.FAILED:
                metrics.FAILED.inc()
        if state is State.WAITING:
            metrics.DEFERRED.labels(reason or "refused").inc()
