"""SMTP attempt: finds the hosts of a destination, gives the message to the first that answers.

The outcome of each recipient is the peer's reply; without a reply the attempt raises.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from typing import BinaryIO, Final

from foundation.failpoints import failpoint
from mailstore.blobs.store import Store
from relay.client.connect import ClientConfig
from relay.client.pool import ConnectionPool
from relay.client.routing import NoRoute, Router, Target
from relay.client.transaction import OutcomeUnknown
from relay.delivery.in_flight import ANSWER, Progress
from relay.machines.certainty import ListCertainty
from relay.policy.server_admission import examine_server
from relay.policy.trust_state import TrustState
from relay.queue.list_wakeup import NO_LIST, NOT_CERTAIN, refused_by
from relay.queue.model import Claim
from relay.smtp.envelope import Envelope, OutgoingMessage
from relay.smtp.errors import AttemptFailed
from relay.smtp.failure_reason import FailureReason
from relay.smtp.outcome import Outcome

CHUNK: Final = 256 * 1024
READERS: Final = 8  # threads that read bodies, apart from the database's threads: a store may hang


async def judge_server(
    trust_state: TrustState, domain: str, der: bytes | None, version: str, cipher: str
) -> None:
    """Check that mail for `domain` may go to the server with this certificate (DER) and TLS.

    Raises AttemptFailed, which names the rule that refused the server.
    """
    server = await trust_state.identify_peer(der, version, cipher)
    snapshot = trust_state.snapshot
    for finding in examine_server(server, snapshot.white_list, snapshot.problem, domain):
        if not finding.passed:
            detail = f"{refused_by(finding.rule)}{finding.evidence}"
            raise AttemptFailed(FailureReason(f"server-{finding.rule}"), detail)


class SmtpDelivery:
    """Delivers by SMTP, on pooled connections; call `close` at the end."""

    def __init__(
        self,
        hostname: str,
        store: Store,
        trust_state: TrustState,
        router: Router,
        tls: Callable[[], ssl.SSLContext],
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._trust_state = trust_state
        self._router = router
        self._clock = clock
        self._certainty = ListCertainty(store.database, trust_state)
        self._pool = ConnectionPool(ClientConfig(hostname, tls, partial(judge_server, trust_state)))
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="body")

    async def deliver(self, claim: Claim, progress: Progress) -> Mapping[str, Outcome]:
        """Return the outcome of each recipient, as far as it is known.

        Raises AttemptFailed, NoRoute, StoreUnavailable.
        """
        await self._check_listed(claim)
        targets = await self._targets(claim)
        progress.step("conversation")
        envelope = Envelope(
            claim.sender,
            claim.waiting,
            claim.smtputf8,
            claim.envid,
            claim.ret,
        )
        trace = claim.trace.encode("ascii")

        def note_progress() -> None:
            progress.step("conversation")

        def make_message() -> OutgoingMessage:
            note_progress()
            octets = self._octets(claim, trace, progress)
            return OutgoingMessage(envelope, octets, len(trace) + claim.size, note_progress)

        try:
            return await self._pool.hand_over(claim.domain, targets, make_message)
        except OutcomeUnknown as unknown:
            return unknown.outcomes

    async def close(self) -> None:
        """End all connections with QUIT; no attempt may be in flight."""
        await self._pool.close()
        self._readers.shutdown(wait=False)

    async def _check_listed(self, claim: Claim) -> None:
        """Refuse a domain that is not on the white list (DOMAIN §3.3).

        Mail for a domain that left the list fails, with a DSN.  It waits if there is no list, or if
        the list may be older than the message or than another machine's list.
        """
        white_list = self._trust_state.snapshot.white_list
        if white_list is None:
            raise AttemptFailed(FailureReason.NOT_LISTED, NO_LIST)
        if white_list.names_of(claim.domain):
            return
        if await self._certainty.of_mail(white_list, claim.created_at, self._clock):
            detail = f"{claim.domain} is not on the white list"
            raise AttemptFailed(FailureReason.NOT_LISTED, detail, permanent=True)
        detail = f"{NOT_CERTAIN}{claim.domain} is not on it"
        raise AttemptFailed(FailureReason.NOT_LISTED, detail, ours=True)

    async def _targets(self, claim: Claim) -> Sequence[Target]:
        """Return the hosts to try.

        That there is no host for ever is certain only if the list is certain, or was not needed.
        """
        try:
            return await self._router.targets(claim.domain)
        except NoRoute as failure:
            white_list = self._trust_state.snapshot.white_list
            if not failure.permanent or not self._router.follows_list or white_list is None:
                raise
            if await self._certainty.of_mail(white_list, claim.created_at, self._clock):
                raise
            detail = f"{NOT_CERTAIN}{failure}"
            raise AttemptFailed(FailureReason.NO_ROUTE, detail, ours=True) from failure

    async def _octets(
        self, claim: Claim, trace: bytes, progress: Progress
    ) -> AsyncGenerator[bytes, None]:
        progress.step("message")
        yield trace
        if progress.sealed is not None:
            with self._store.blobs.unseal(claim.blob, progress.sealed) as body:
                yield body.read()
        else:
            async for chunk in self._stored(claim):
                progress.step("message")
                yield chunk
                failpoint("delivery.half")
        progress.step(ANSWER)

    async def _stored(self, claim: Claim) -> AsyncGenerator[bytes, None]:
        """Read the body from the store; a small body costs one call of a thread."""

        def begin() -> tuple[BinaryIO | None, bytes]:
            body = self._store.blobs.open(claim.blob, claim.size)
            with ExitStack() as opened:
                opened.enter_context(body)
                piece = body.read(CHUNK)
                if len(piece) == CHUNK:
                    opened.pop_all()
                    return body, piece
            return None, piece

        loop = asyncio.get_running_loop()
        body, piece = await loop.run_in_executor(self._readers, begin)
        yield piece
        if body is not None:
            with body:
                while piece := await loop.run_in_executor(self._readers, body.read, CHUNK):
                    yield piece
