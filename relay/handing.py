"""One attempt: finds the hosts of a destination, hands a message over to the first that answers.

Raises what became of it otherwise; the outcome of each recipient is the peer's word.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from relay.acceptance import Store
from relay.conversation import AttemptFailed, Letter, Terms, converse
from relay.perimeter import Perimeter
from relay.queue import Claim, Outcome
from relay.route import Router
from relay.server_admission import examine_server

CHUNK: Final = 256 * 1024

ANSWER: Final = "answer"  # the message is sent: what becomes of it is the peer's to say


@dataclass(slots=True)
class Progress:
    """How far an attempt has come, for the watchdog; `moved` is in monotonic seconds."""

    session: str
    phase: str = "route"
    moved: float = field(default_factory=time.monotonic)

    def step(self, phase: str) -> None:
        """Note that it goes on."""
        self.phase = phase
        self.moved = time.monotonic()


@dataclass(frozen=True, slots=True)
class Handing:
    """Makes attempts."""

    hostname: str
    store: Store
    perimeter: Perimeter
    router: Router
    tls: Callable[[], ssl.SSLContext]

    async def deliver(self, taken: Claim, progress: Progress) -> Mapping[str, Outcome]:
        """What became of each recipient.  Raises AttemptFailed, NoRoute, StoreUnavailable."""
        terms = Terms(
            hostname=self.hostname,
            tls=self.tls(),
            judge=lambda der, version, cipher: self._judge(taken.domain, der, version, cipher),
        )
        self._check_listed(taken.domain)
        failure = AttemptFailed("no-route", f"{taken.domain} has no host")
        for target in await self.router.targets(taken.domain):
            progress.step(f"host {target.host}")
            try:
                trace = taken.trace.encode("ascii")
                size = len(trace) + taken.size
                async with aclosing(self._octets(taken, trace, progress)) as octets:
                    return await converse(target, terms, Letter(taken, octets, size))
            except AttemptFailed as failed:
                failure = failed
        raise failure

    def _check_listed(self, domain: str) -> None:
        white_list = self.perimeter.snapshot.white_list
        if white_list is None or not white_list.names_of(domain):
            raise AttemptFailed("not-listed", f"{domain} is not on the white list now")

    async def _judge(self, domain: str, der: bytes | None, version: str, cipher: str) -> None:
        server = await self.perimeter.identify_peer(der, version, cipher)
        snapshot = self.perimeter.snapshot
        for finding in examine_server(server, snapshot.white_list, snapshot.problem, domain):
            if not finding.passed:
                detail = f"server refused by rule {finding.rule}: {finding.evidence}"
                raise AttemptFailed(f"server-{finding.rule}", detail)

    async def _octets(
        self, taken: Claim, trace: bytes, progress: Progress
    ) -> AsyncGenerator[bytes, None]:
        progress.step("message")
        yield trace
        with await asyncio.to_thread(self.store.blobs.open, taken.blob) as body:
            while chunk := await asyncio.to_thread(body.read, CHUNK):
                progress.step("message")
                yield chunk
        progress.step(ANSWER)
