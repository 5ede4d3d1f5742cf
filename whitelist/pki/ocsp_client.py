"""Asking an OCSP responder where a revocation list is lacking (RFC 6960; DOMAIN §9.62; an option).

Only configured responders are asked, never where a peer's certificate says: a peer must not choose
whom we connect to.  What lists say is never overruled: a responder is asked only about a chain that
holds, of which a list in date is not at hand, and its word stands for the list of the certificate's
issuer alone.  The issuer's own chain must be trusted by lists.  A session waits seconds at most:
answers are kept until they are over, failures for a minute, and few questions are under way at a
time.
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
_MAX_ANSWER: Final = 64 * 1024  # a response with its responder's certificate is some 2 kB
_AT_A_TIME: Final = 2  # of the process's threads, which the store needs too


@dataclass(frozen=True, slots=True)
class _Known:
    """What is held before `until`: GOOD, REVOKED, or nothing (None) and why."""

    status: OcspStatus | None
    until: datetime
    detail: str


class _Memory:
    """The `size` newest pieces of knowledge, by a text."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def get(self, key: str, now: datetime) -> _Known | None:
        known = self._known.get(key)
        if known is None or now >= known.until:
            return None
        # A failure held for longer than can be was noted by a clock that was ahead.
        failed_ahead = known.status is None and known.until > now + FAILURE_HOLDS
        return None if failed_ahead else known

    def put(self, key: str, known: _Known) -> _Known:
        self._known[key] = known
        self._known.move_to_end(key)
        if len(self._known) > self._size:
            self._known.popitem(last=False)
        return known


class OcspAsker:
    """Asks the responders at `urls`, in this order, once at a time for each certificate.

    `clock` gives aware instants.  `patience` is in seconds: how long a caller waits in all, and how
    long one responder may take.
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        urls: Sequence[str],
        *,
        patience: float = 5,
        size: int = 4096,
    ) -> None:
        if not urls:
            raise ValueError("no responder to ask: give at least one URL")
        self._clock = clock
        self._urls = tuple(urls)
        self._patience = patience
        self._answers = _Memory(size)
        self._silent = _Memory(size)
        self._asking: dict[str, asyncio.Task[_Known]] = {}
        self._room = asyncio.Semaphore(_AT_A_TIME)

    async def weigh(self, der: bytes, verdict: ChainVerdict, trust: TrustStore) -> ChainVerdict:
        """Give the verdict on a certificate with what OCSP adds to `verdict`, which is `trust`'s.

        Good makes it trusted, revoked refused; anything else leaves it, with a word in `detail`.
        A verdict that lacks no list comes back as it is.  Raises ValueError for unreadable octets.
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
        """Until when the last word on a certificate is held; None if that was over by `at`."""
        known = self._answers.get(sha256(der).hexdigest(), at)
        return None if known is None else known.until

    def _issuer(
        self, certificate: x509.Certificate, trust: TrustStore
    ) -> tuple[x509.Certificate | None, ChainVerdict]:
        """Give the issuer with the verdict on it, None where no issuer is trusted."""
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
    ) -> _Known:
        if known := self._answers.get(key, self._clock()):
            return known
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(key, certificate, issuer, authorities))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key))
        try:
            # A peer that hangs up must not take the answer from the others that wait for it.
            async with asyncio.timeout(self._patience):
                return await asyncio.shield(task)
        except TimeoutError:  # the question goes on, and its answer is for the next session
            return self._answers.put(key, self._failed(f"no answer within {self._patience:g} s"))

    async def _ask(
        self,
        key: str,
        certificate: x509.Certificate,
        issuer: x509.Certificate,
        authorities: Sequence[x509.Certificate],
    ) -> _Known:
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
        return self._answers.put(key, _Known(None, until, detail))

    async def _ask_one(
        self,
        url: str,
        certificate: x509.Certificate,
        issuer: x509.Certificate,
        authorities: Sequence[x509.Certificate],
    ) -> _Known:
        post = partial(
            post_plain,
            url,
            ocsp_request(certificate, issuer),
            "application/ocsp-request",
            timeout=self._patience,
            deadline=self._patience,
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
        return _Known(answer.status, answer.until, f"OCSP: {url}: {answer.detail}")

    def _failed(self, why: str) -> _Known:
        return _Known(None, self._clock() + FAILURE_HOLDS, f"OCSP: {why}")
