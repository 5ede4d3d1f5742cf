"""OCSP client: asks a responder where a revocation list is missing (RFC 6960; DOMAIN §9.62).

An option. Only configured responders are asked, never the URL in a peer's certificate: a peer must
not choose whom we connect to. Lists are never overruled: a responder is asked only about a valid
chain that lacks a list in date, and its answer replaces only the list of the certificate's issuer.
The issuer's own chain must be trusted by lists. A session waits a few seconds at most: answers are
cached until they expire, failures for a minute, and few requests run at a time.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Final

import structlog
from cryptography import x509

from whitelist.errors import FetchFailed, OcspRefused
from whitelist.fetch.http import post_plain
from whitelist.pki.certificates import issued_by, read_der
from whitelist.pki.ocsp import OcspStatus, check_ocsp, ocsp_request
from whitelist.pki.trust_store import ChainStatus, ChainVerdict, TrustStore

_log = structlog.get_logger(__name__)

FAILURE_HOLDS: Final = timedelta(seconds=60)
_MAX_ANSWER: Final = 64 * 1024  # a response with its responder's certificate has some 2 kB
_AT_A_TIME: Final = 2  # threads of the process, which the store needs too


@dataclass(frozen=True, slots=True)
class _CachedAnswer:
    """Cached result, valid before `until`: GOOD, REVOKED, or None with the reason."""

    status: OcspStatus | None
    until: datetime
    detail: str


class _AnswerCache:
    """Cache of the `size` newest results, by a text key."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: OrderedDict[str, _CachedAnswer] = OrderedDict()

    def get(self, key: str, now: datetime) -> _CachedAnswer | None:
        known = self._known.get(key)
        if known is None or now >= known.until:
            return None
        # A failure valid for longer than FAILURE_HOLDS was noted by a clock that was ahead.
        failed_ahead = known.status is None and known.until > now + FAILURE_HOLDS
        return None if failed_ahead else known

    def put(self, key: str, known: _CachedAnswer) -> _CachedAnswer:
        self._known[key] = known
        self._known.move_to_end(key)
        if len(self._known) > self._size:
            self._known.popitem(last=False)
        return known


class OcspClient:
    """Asks the responders at `urls`, in order; a single request at a time for each certificate.

    `clock` gives aware instants. `patience` is the longest wait of a caller, and the timeout of
    each responder, in seconds.
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        urls: Sequence[str],
        *,
        timeout: float = 5,
        size: int = 4096,
    ) -> None:
        if not urls:
            raise ValueError("no responder to ask: give at least one URL")
        self._clock = clock
        self._urls = tuple(urls)
        self._timeout = timeout
        self._answers = _AnswerCache(size)
        self._silent = _AnswerCache(size)
        self._asking: dict[str, asyncio.Task[_CachedAnswer]] = {}
        self._room = asyncio.Semaphore(_AT_A_TIME)

    async def apply(self, der: bytes, verdict: ChainVerdict, trust: TrustStore) -> ChainVerdict:
        """Apply OCSP to `verdict`, which `trust` gave on the certificate `der`.

        Good makes it trusted, revoked refused; other answers only add to `detail`. A verdict that
        lacks no list is returned unchanged. Raises ValueError for an unreadable certificate.
        """
        if verdict.status is not ChainStatus.NO_CRL and not verdict.alarm:
            return verdict
        certificate = read_der(der)
        issuer, above = self._issuer(certificate, trust)
        if issuer is None:
            return replace(verdict, detail=f"{verdict.detail}; OCSP was not asked: {above.detail}")
        known = await self._known(sha256(der).hexdigest(), certificate, issuer, trust.authorities)
        if known.status is OcspStatus.GOOD:
            return ChainVerdict(
                ChainStatus.TRUSTED, known.detail, verdict.crl_until, alarm=above.alarm
            )
        if known.status is OcspStatus.REVOKED:
            return ChainVerdict(ChainStatus.REVOKED, known.detail, verdict.crl_until)
        return replace(verdict, detail=f"{verdict.detail}; {known.detail}")

    def holds_until(self, der: bytes, at: datetime) -> datetime | None:
        """Expiry of the last result for a certificate; None if expired at `at`."""
        known = self._answers.get(sha256(der).hexdigest(), at)
        return None if known is None else known.until

    def _issuer(
        self, certificate: x509.Certificate, trust: TrustStore
    ) -> tuple[x509.Certificate | None, ChainVerdict]:
        """Return the issuer and its verdict; None as issuer if none is trusted."""
        above = ChainVerdict(ChainStatus.UNTRUSTED, "no configured intermediate is its issuer")
        now = self._clock()
        for candidate in trust.intermediates:  # a renewed authority has several certificates
            if issued_by(certificate, candidate):
                above = trust.verify(candidate, now)
                if above.trusted:
                    return candidate, above
        return None, above

    async def _known(
        self,
        key: str,
        certificate: x509.Certificate,
        issuer: x509.Certificate,
        authorities: Sequence[x509.Certificate],
    ) -> _CachedAnswer:
        if known := self._answers.get(key, self._clock()):
            return known
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(key, certificate, issuer, authorities))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key))
        try:
            # Shielded: a peer that hangs up must not cancel the request that others wait for.
            async with asyncio.timeout(self._timeout):
                return await asyncio.shield(task)
        except TimeoutError:  # the request goes on; its answer serves the next session
            return self._answers.put(key, self._failed(f"no answer within {self._timeout:g} s"))

    async def _ask(
        self,
        key: str,
        certificate: x509.Certificate,
        issuer: x509.Certificate,
        authorities: Sequence[x509.Certificate],
    ) -> _CachedAnswer:
        failures = []
        for url in self._urls:
            async with self._room:
                known = self._silent.get(url, self._clock())
                known = known or await self._ask_one(url, certificate, issuer, authorities)
            if known.status is not None:
                return self._answers.put(key, known)
            failures.append(known)
        until = min(failure.until for failure in failures)
        detail = "; ".join(failure.detail for failure in failures)
        return self._answers.put(key, _CachedAnswer(None, until, detail))

    async def _ask_one(
        self,
        url: str,
        certificate: x509.Certificate,
        issuer: x509.Certificate,
        authorities: Sequence[x509.Certificate],
    ) -> _CachedAnswer:
        post = partial(
            post_plain,
            url,
            ocsp_request(certificate, issuer),
            "application/ocsp-request",
            timeout=self._timeout,
            deadline=self._timeout,
            max_bytes=_MAX_ANSWER,
        )
        try:
            response = await asyncio.to_thread(post)
        except FetchFailed as error:
            _log.warning("ocsp.silent", url=url, why=str(error))
            return self._silent.put(url, self._failed(str(error)))
        try:
            answer = check_ocsp(response, certificate, issuer, authorities, self._clock())
        except OcspRefused as error:
            _log.warning("ocsp.refused", url=url, why=str(error))
            return self._failed(f"{url}: {error}")
        _log.info("ocsp.answered", url=url, answer=answer.detail)
        if answer.status is OcspStatus.UNKNOWN:
            return self._failed(f"{url}: {answer.detail}")
        return _CachedAnswer(answer.status, answer.until, f"OCSP: {url}: {answer.detail}")

    def _failed(self, why: str) -> _CachedAnswer:
        return _CachedAnswer(None, self._clock() + FAILURE_HOLDS, f"OCSP: {why}")
