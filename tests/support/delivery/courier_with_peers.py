"""The real queue and courier, peers as a function, and a clock set by the test."""

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime
from pathlib import Path

import dns.asyncresolver
from sqlalchemy import and_, func, or_, select

from foundation.journal.writer import Journal
from mailstore.blobs.bodies import Bodies
from mailstore.blobs.file_store import FileBlobStore
from mailstore.blobs.store import Store
from mailstore.db.database import Database
from mailstore.errors import Conflict
from mailstore.mailboxes.mailboxes import add_domain
from mailstore.sealed.blob_format import BlobFormat
from relay.client.routing import Router
from relay.delivery.in_flight import Progress
from relay.delivery.manager import DeliveryConfig, DeliveryManager, DeliveryServices
from relay.queue.model import Claim
from relay.queue.retry import RetryPolicy
from relay.queue.schema import deliveries, destinations
from relay.smtp.errors import AttemptFailed
from relay.smtp.failure_reason import FailureReason
from relay.smtp.outcome import Outcome, State
from tests.support.clock import NOW, system_clock
from tests.support.machines.operators import trust_space
from tests.support.machines.perimeters import trust_state
from tests.support.waiting import until

STUCK = 3600.0  # seconds
DELIVERED = Outcome(State.DELIVERED, "250 2.0.0 ok")


class CourierWithPeers:
    """A store, a clock, peers as a function, and a courier that works among them."""

    def __init__(self, folder: Path, database: Database, poll: float = 0.005) -> None:
        space = trust_space()
        self.now = NOW
        self.ahead = 0.0  # seconds, of the monotonic clock
        self.tried: list[tuple[datetime, Claim]] = []
        self.down: set[str] = set()
        self.answers: Mapping[str, Outcome] = {}
        self.silent: set[str] = set()
        self.store = Store(
            Bodies(
                FileBlobStore(folder / "blobs", BlobFormat(), 1_000_000),
                database,
                lambda: self.now,
                0,
            ),
            database,
        )
        with suppress(Conflict), database.write() as connection:  # unless another courier has
            add_domain(connection, "a.mssante.fr", now=NOW)  # that of the senders
        self.journal = Journal(folder / "trace", system_clock)
        services = DeliveryServices(
            store=self.store,
            trust_state=trust_state(
                folder, space.white_list, space.trust, system_clock, crls=space.crls
            ),
            router=Router({}, dns.asyncresolver.Resolver(configure=False), random.Random(1)),
            tls=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            journal=self.journal,
            clock=lambda: self.now,
            monotonic=lambda: time.monotonic() + self.ahead,
            randomness=random.Random(1),
        )
        settings = DeliveryConfig(
            "smtp.b.mssante.fr", "node:1", RetryPolicy(), poll=poll, stuck=STUCK
        )
        self.manager = DeliveryManager(services, settings, self.deliver)

    async def deliver(self, claim: Claim, progress: Progress) -> Mapping[str, Outcome]:
        """Answer for the peers of all destinations."""
        progress.step("answer")
        self.tried.append((self.now, claim))
        if claim.domain in self.down:
            raise AttemptFailed(FailureReason.CONNECTION, f"{claim.domain} is down")
        if claim.domain in self.silent:
            await asyncio.get_running_loop().create_future()
        answer = self.answers.get(claim.domain, DELIVERED)
        return dict.fromkeys(claim.recipients, answer)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let the courier work."""
        stop = asyncio.Event()
        task = asyncio.create_task(self.manager.run(stop))
        try:
            yield
        finally:
            stop.set()
            await task

    def has_tried(self, message_id: str) -> bool:
        """Whether a message was handed to its peer."""
        return any(claim.message_id == message_id for _, claim in self.tried)

    def next_time(self) -> datetime | None:
        """When anything is due next: mail of a live destination, or the probe of a dead one."""
        d, at = deliveries.c, destinations.c
        with self.store.database.read() as connection:
            dead = connection.scalars(select(at.domain).where(at.dead_until > self.now)).all()
            times = [
                connection.scalar(
                    select(func.min(d.due)).where(
                        d.state == "waiting", d.due > self.now, d.domain.not_in(dead)
                    )
                ),
                connection.scalar(select(func.min(at.dead_until)).where(at.dead_until > self.now)),
            ]
            waits = connection.scalar(
                select(func.count()).select_from(deliveries).where(d.state == "waiting")
            )
        if not waits:
            return None
        return min((time for time in times if time is not None), default=None)

    async def turn_to(self, end: datetime) -> None:
        """Turn the clock from one event to the next until `end` or until nothing waits."""
        while True:
            await self.settle_down()
            following = self.next_time()
            if following is None or following > end:
                self.now = end
                await self.settle_down()
                return
            self.now = max(following, self.now)

    async def settle_down(self) -> None:
        """Wait until everything that is due now was tried, or cannot be."""
        await until(lambda: not self.pending())

    def pending(self) -> int:
        """How many deliveries are under way, or due and free to go."""
        d, at = deliveries.c, destinations.c
        barred = select(at.domain).where(or_(at.paused.is_not(None), at.dead_until > self.now))
        free = and_(d.due <= self.now, d.held.is_(None), d.domain.not_in(barred))
        query = select(func.count()).where(
            d.state == "waiting", or_(d.lease_owner.is_not(None), free)
        )
        with self.store.database.read() as connection:
            return connection.scalar(query) or 0

    def rows(self) -> list[tuple[object, ...]]:
        d = deliveries.c
        with self.store.database.read() as connection:
            query = select(d.id, d.state, d.attempts, d.delay_told, d.lease_owner).order_by(d.id)
            return [tuple(row) for row in connection.execute(query)]


@contextmanager
def making(folder: Path, database: Database, poll: float = 0.005) -> Iterator[CourierWithPeers]:
    made = CourierWithPeers(folder, database, poll)
    try:
        yield made
    finally:
        made.journal.close()
        made.store.blobs.close()
