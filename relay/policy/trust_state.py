"""Trust state: the white list and the trust in force at this moment, in this process.

The maintenance process or a command puts the adopted list and the revocation lists on disk.  Each
process looks for changes several times a second and swaps immutable values as a whole, so that no
check sees half of a change and no session is touched (DOMAIN §9.12).  Without a list, or with a
list not confirmed for too long, `white_list` is None.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import structlog

from foundation.backoff import backoff
from foundation.best_effort import best_effort
from relay.policy.admission import Peer
from whitelist.errors import ArchiveError, CrlRefused, ListRefused, NothingAdopted
from whitelist.national.archive import Archive, Stamp
from whitelist.national.freshness import Freshness, judge_freshness, last_certain
from whitelist.national.lookup import WhiteList
from whitelist.national.newest import MARGIN, KnownLists, confirmed_at, is_behind
from whitelist.national.reader import load_file
from whitelist.national.signer import ExpectedSigner
from whitelist.pki.crl import RevocationPolicy
from whitelist.pki.crl_store import CrlStore
from whitelist.pki.crl_store import Stamp as CrlStamp
from whitelist.pki.ocsp_client import OcspClient
from whitelist.pki.trust_store import ChainStatus, ChainVerdict, TrustStore
from whitelist.pki.verdict_cache import VerdictCache

_log = structlog.get_logger(__name__)

# Seconds until files that could not be used are read again, though they did not change: a disk may
# fail for a moment.  A damaged list costs a second of work each time.
_AGAIN: Final = 1.0
_LONGEST: Final = 60.0


@dataclass(frozen=True, slots=True)
class ListAgeLimits:
    """How long a list serves without a successful check: until the alarm, until the end."""

    stale_after: timedelta = timedelta(hours=24)
    expired_after: timedelta = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class ExpectedList:
    """Requirements for a list: its signer, and how its names are compared (DOMAIN §9.8)."""

    signer: str | ExpectedSigner
    loose_department: bool = False


class ListSnapshot(NamedTuple):  # two for each message, in a third of a dataclass's time
    """The state at one moment.

    `loaded` is the adopted list whatever its age; `problem` says why no list may be used.
    `last_check` is the latest instant at which the list was certainly current; `behind`: another
    machine has a newer list.
    """

    loaded: WhiteList | None
    freshness: Freshness
    last_check: datetime | None
    problem: str = ""
    behind: bool = False

    @property
    def white_list(self) -> WhiteList | None:
        """The list that decides; None if there is none or if it has expired."""
        return None if self.problem else self.loaded

    @property
    def final(self) -> bool:
        """Whether the list may refuse a peer for good now (`newest`)."""
        return not self.behind and self.freshness is Freshness.FRESH

    def lists(self, peer: Peer) -> bool:
        """Whether a peer showed a listed name in a valid chain, whatever the list's age."""
        if peer.certificate is None or peer.chain is None or not peer.chain.trusted:
            return False
        return self.loaded is None or self.loaded.lists(peer.certificate.subject)


class TrustState:
    """Follows the list adopted in `archive` and the revocation lists in `crls`.

    `ocsp`, if given, is asked about peers where a revocation list is missing.
    `on_new_list(old, new)` is called for each list loaded after the first, `on_confirmed()` for
    each check for which mail has waited (`want_check`), in the thread that loads the list.  Neither
    may raise.
    """

    on_new_list: Callable[[WhiteList | None, WhiteList], None] | None = None
    on_confirmed: Callable[[], None] | None = None

    def __init__(
        self,
        archive: Archive,
        crls: CrlStore,
        trust: TrustStore,
        expected: ExpectedList,
        age_limits: ListAgeLimits,
        clock: Callable[[], datetime],
        *,
        ocsp: OcspClient | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._archive = archive
        self._crls = crls
        self._expected = expected
        self._age_limits = age_limits
        self._clock = clock
        self._ocsp = ocsp
        self._stamps: tuple[Stamp, CrlStamp] | None = None
        self._faults: tuple[str, ...] = ()
        self._failures = 0
        self._again = 0.0  # monotonic
        self._seen = self._monotonic()
        self._loaded: WhiteList | None = None
        self._last_check: datetime | None = None
        self._problem = ""
        self._known = KnownLists()
        self._behind = False
        self._confirmed: datetime | None = None
        self._wanted: float | None = None  # monotonic; the last time that mail asked for a check
        self._verdicts = VerdictCache(trust.with_crls(crls.current()))

    @property
    def trust(self) -> TrustStore:
        """The authorities with the current revocation lists."""
        return self._verdicts.trust

    @property
    def snapshot(self) -> ListSnapshot:
        """The state now."""
        age_limits, now = self._age_limits, self._clock()
        checked = last_certain(
            self._last_check, self._loaded.generated_at if self._loaded else None, now
        )
        age = judge_freshness(checked, now, age_limits.stale_after, age_limits.expired_after)
        problem = self._problem
        if not problem and age in {Freshness.EXPIRED, Freshness.NONE}:
            when = self._last_check.isoformat() if self._last_check else "never"
            problem = f"the white list has expired: last checked with success {when}"
            if checked != self._last_check:
                problem += ", a time to come: this machine's clock was ahead"
        return ListSnapshot(self._loaded, age, checked, problem, self._behind)

    @property
    def known(self) -> KnownLists:
        """The newest list known, of this machine and of the others."""
        return self._known

    @property
    def confirmed(self) -> datetime | None:
        """When the list in force was last certainly the newest; None without a list."""
        return self._confirmed

    def want_check(self) -> None:
        """Ask for a check of the list, because mail waits for it; blocks.  Raises ArchiveError."""
        self._wanted = self._monotonic()
        self._archive.want_check()

    def load(self) -> None:
        """Load the files on disk now; blocks, for a second with a large list.

        Files that cannot be used are read again soon.  Raises OSError if the revocation lists
        cannot be listed.
        """
        stamps = (
            self._archive.stamp(),
            self._crls.stamp(),
        )  # read first: a change during the load shows at the next look
        self._stamps = None
        crl_faults, list_fault = self._load_crls(), ""
        try:
            self._load_list()
        except NothingAdopted as error:
            self._problem = "" if self._loaded else str(error)
            _log.info("whitelist.none_yet", why=str(error))
        except (ArchiveError, ListRefused) as error:
            # The list in force here was checked; only the file on disk is damaged.
            list_fault = str(error)
            self._problem = "" if self._loaded else list_fault
        self._take_over_known()
        faults = (*crl_faults, list_fault) if list_fault else crl_faults
        if list_fault and list_fault not in self._faults:
            _log.error("whitelist.unusable", why=list_fault, kept=self._loaded is not None)
        for fault in crl_faults:
            if fault not in self._faults:
                _log.error("crl.unusable", why=fault)
        self._faults, self._failures = faults, self._failures + 1 if faults else 0
        if faults:
            self._again = self._monotonic() + backoff(self._failures, _AGAIN, _LONGEST)
        self._stamps = stamps

    def _load_crls(self) -> tuple[str, ...]:
        """Load the revocation lists; return the problems."""
        try:
            self._crls.poll()
            current = self._crls.current()
            if current != self.trust.crls:
                self._verdicts.trust = self.trust.with_crls(current)
                _log.info("crl.loaded", count=len(current))
        except (CrlRefused, OSError) as error:
            return (str(error),)
        return self._crls.problems

    def _load_list(self) -> None:
        checked = self._archive.last_check()
        self._last_check = checked or self._last_check
        version = self._archive.find("active")
        if self._loaded is None or self._loaded.digest != version.digest:
            # The list passed every check at adoption; its signer may have expired since.
            then = replace(self.trust, crls=(), revocation=RevocationPolicy.OFF)
            path, old = self._archive.active_path, self._loaded
            self._loaded = load_file(
                path,
                then,
                self._expected.signer,
                version.adopted_at,
                loose_department=self._expected.loose_department,
            )
            generated = self._loaded.generated_at.isoformat()
            _log.info("whitelist.loaded", generated_at=generated, domains=self._loaded.domains)
            if self.on_new_list is not None:
                self.on_new_list(old, self._loaded)
        self._problem = ""
        if checked is None and self._last_check is not None:
            raise ArchiveError(f"{self._archive.folder}: the time of the last check is unreadable")

    def _take_over_known(self) -> None:
        self._known = self._archive.known()
        shared = self._known.shared
        behind, self._behind = self._behind, is_behind(self._loaded, shared)
        if shared is not None and self._behind and not behind:
            generated = shared.generated_at.isoformat()
            _log.warning("whitelist.behind", digest=shared.digest, generated_at=generated)
        before, self._confirmed = self._confirmed, None
        if self._loaded is not None:
            self._confirmed = confirmed_at(self._loaded, self._known, self._clock())
        if self._wanted is None or self._confirmed in {None, before}:
            return
        if self._monotonic() - self._wanted > MARGIN.total_seconds():
            self._wanted = None  # a later wish asks for another check
        if self.on_confirmed is not None:
            self.on_confirmed()

    @property
    def unseen_seconds(self) -> float:
        """Seconds since the last look for changes on disk."""
        return self._monotonic() - self._seen

    async def watch(self, interval: float) -> None:
        """Look for changes every `interval` seconds; after an internal error a little later."""
        errors = 0
        while True:
            await asyncio.sleep(interval)
            try:
                # In a thread: a disk that hangs must not hold up the sessions.
                changed = await asyncio.to_thread(self._look) != self._stamps
                if changed or (self._faults and self._monotonic() >= self._again):
                    await asyncio.to_thread(self.load)
                errors = 0
                self._seen = self._monotonic()
            # The watch must never end: revocations would go unseen.
            except (ArchiveError, OSError) as error:
                with best_effort:
                    _log.error("perimeter.unreadable", why=str(error))
            except Exception:
                errors += 1
                with best_effort:
                    _log.exception("perimeter.error")
                await asyncio.sleep(backoff(errors, _AGAIN, _LONGEST))

    def _look(self) -> tuple[Stamp, CrlStamp]:
        return self._archive.stamp(), self._crls.stamp()

    def identify(self, certificate: bytes | None, tls_version: str, cipher: str) -> Peer:
        """The facts of a peer from its DER certificate; its chain judged now by CRLs only."""
        if certificate is None:
            return Peer(tls_version, cipher)
        try:
            facts, verdict = self._verdicts.verdict(certificate, self._clock())
        except ValueError as error:
            return Peer(tls_version, cipher, chain=ChainVerdict(ChainStatus.UNTRUSTED, str(error)))
        return Peer(tls_version, cipher, facts, verdict)

    async def identify_peer(self, certificate: bytes | None, tls_version: str, cipher: str) -> Peer:
        """As `identify`, and by OCSP where that is on and a CRL is missing: may take seconds."""
        peer = self.identify(certificate, tls_version, cipher)
        if self._ocsp is None or certificate is None or peer.certificate is None or not peer.chain:
            return peer
        return replace(peer, chain=await self._ocsp.apply(certificate, peer.chain, self.trust))

    def ocsp_holds_until(self, certificate: bytes, at: datetime) -> datetime | None:
        """End of validity of the OCSP answer that held at `at` or came since; None without any."""
        return None if self._ocsp is None else self._ocsp.holds_until(certificate, at)
