"""Operator B's outbound side in the test's process: store, queue, couriers on demand."""

import asyncio
import json
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dns.asyncresolver

from foundation.journal.writer import Journal
from mailstore.blobs.store import Store
from mailstore.mailboxes.mailboxes import add_domain
from mailstore.messages.messages import Message, NewMessage, store_messages
from relay.client.routing import Router, Target
from relay.delivery.manager import DeliveryConfig, DeliveryManager, DeliveryServices
from relay.policy import tls
from relay.policy.trust_state import TrustState
from relay.queue.enqueue import enqueue
from relay.queue.model import QueueItem
from relay.queue.retry import RetryPolicy
from relay.queue_admin.actions import RetryAction, run_action
from relay.queue_admin.filter import DeliveryFilter
from tests.support.clock import system_clock
from tests.support.delivery.listed import DeliverySummary, listing
from tests.support.ids import make_id
from tests.support.machines.operators import HOST, make_store, trust_space
from tests.support.machines.perimeters import trust_state
from tests.support.sessions.scripted import ScriptedPeer
from tests.support.waiting import until

BODY = b"From: dr@b.mssante.fr\r\nSubject: [FIN]\r\n\r\n.dot\r\n..\r\nfin\r\n"
TRACE = b"Received: from x by smtp.b.mssante.fr;\r\n Sun, 22 Nov 2026 12:00:00 +0000\r\n"


@dataclass
class Sender:
    """Operator B's outbound side."""

    folder: Path
    store: Store
    trust_state: TrustState
    journal: Journal

    def queue(self, *recipients: str, body: bytes = BODY, smtputf8: bool = False) -> str:
        """Queue a message for recipients at one domain; returns its id."""
        draft = self.store.blobs.draft()
        draft.write(body)
        (blob,) = self.store.blobs.seal([draft])
        assert isinstance(blob, str)
        now, key = system_clock(), make_id()
        message = Message(
            key, "dr@b.mssante.fr", blob, len(body), TRACE.decode(), "local", "s", now
        )
        domain = recipients[0].partition("@")[2]
        with self.store.database.write() as connection:
            store_messages(connection, [NewMessage(message)], now=now)
            enqueue(connection, [QueueItem(key, domain, recipients, smtputf8, now)])
        return key

    def queued(self) -> list[DeliverySummary]:
        with self.store.database.read() as connection:
            return listing(connection, 100)

    def retry(self) -> None:
        """Make all waiting deliveries due."""
        for _ in run_action(self.store.database, RetryAction(), DeliveryFilter(), system_clock):
            pass

    def attempts(self) -> list[dict[str, Any]]:
        """Events of attempts in the journal so far."""
        self.journal.close()
        self.journal = Journal(self.folder / "trace", system_clock)
        files = sorted((self.folder / "trace").rglob("*.jsonl"))
        lines = [line for path in files for line in path.read_text().splitlines()]
        return [
            one
            for one in map(json.loads, filter(None, lines))
            if one["event"] == "delivery.attempted"
        ]

    def courier(
        self,
        routes: Mapping[str, Target],
        identity: str = "b",
        *,
        steady: Callable[[], datetime] | None = None,
        takes_work: Callable[[], bool] = lambda: True,
    ) -> DeliveryManager:
        space = trust_space()
        context = tls.client_context(space.identity(identity, self.folder), space.trust)
        resolver = dns.asyncresolver.Resolver(configure=False)
        return DeliveryManager(
            DeliveryServices(
                store=self.store,
                trust_state=self.trust_state,
                router=Router(routes, resolver, random.Random(1)),
                tls=lambda: context,
                journal=self.journal,
                clock=system_clock,
                randomness=random.Random(1),
                steady=steady,
                takes_work=takes_work,
            ),
            DeliveryConfig(
                "smtp.b.mssante.fr", "node:1", RetryPolicy(first=timedelta(minutes=1)), poll=0.01
            ),
        )

    async def deliver(
        self,
        to: int | Mapping[str, Target],
        *,
        attempts: int = 1,
        steady: Callable[[], datetime] | None = None,
    ) -> None:
        """Deliver queued mail to the peers, or to a port, until each had so many attempts."""
        stop = asyncio.Event()
        routes = {d: Target(HOST, to) for d in self._domains()} if isinstance(to, int) else to
        running_courier = asyncio.create_task(self.courier(routes, steady=steady).run(stop))
        await until(
            lambda: all(
                row.state == "failed" or (row.attempts >= attempts and not row.in_flight)
                for row in self.queued()
            )
        )
        stop.set()
        await running_courier

    def _domains(self) -> set[str]:
        return {row.domain for row in self.queued()}


@contextmanager
def sending(folder: Path, white_list: bytes | None = None) -> Iterator[Sender]:
    """Operator B in a new folder, with the good list or another list."""
    folder.mkdir()
    store = make_store(folder)
    with store.database.write() as connection:
        add_domain(connection, "b.mssante.fr", now=system_clock())
    space = trust_space()
    data = white_list or space.white_list
    follower = trust_state(folder, data, space.trust, system_clock, crls=space.crls)
    journal = Journal(folder / "trace", system_clock)
    try:
        yield Sender(folder, store, follower, journal)
    finally:
        journal.close()
        store.close()


def server_tls(name: str, folder: Path) -> ScriptedPeer:
    """Scripted peer with the certificate of an operator."""
    space = trust_space()
    return ScriptedPeer(tls.server_context(space.identity(name, folder), space.trust))
